//! Reads the fields of a form.

use std::collections::HashMap;

use zeroize::{Zeroize, Zeroizing};

/// What a form says, field by field; wiped from memory after use, since some hold passwords.
#[derive(Default)]
pub(crate) struct Form(HashMap<String, String>);

impl Form {
    /// Reads a body of the type `application/x-www-form-urlencoded`, or the query of a URL. Of a field that is there twice the
    /// last counts.
    pub(crate) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// A field without the spaces around it; empty where it is missing.
    pub(crate) fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", |value| value.trim())
    }

    /// A field exactly as it was sent, such as the name of an object, which may begin with a space.
    pub(crate) fn exact(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// Whether a box is ticked.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// A password, exactly as it was typed.
    pub(crate) fn secret(&self, field: &str) -> Zeroizing<String> {
        Zeroizing::new(self.0.get(field).cloned().unwrap_or_default())
    }
}

impl Drop for Form {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_decoded_and_trimmed_and_passwords_are_not() {
        let form = Form::parse(b"name=+Anna%27s+house+&password=+a%26b+&read=on");
        assert_eq!(form.get("name"), "Anna's house");
        assert_eq!(&*form.secret("password"), " a&b ");
        assert!(form.has("read") && !form.has("write") && form.get("missing").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_some_form(bytes: Vec<u8>) {
            let _ = Form::parse(&bytes);
        }
    }
}
