//! Variables in the text of a policy, which each request fills in: `${aws:username}` is the id of the key that signed.
//!
//! Source: AWS IAM user guide, "IAM policy elements: Variables and tags".

use std::borrow::Cow;

use storage::model::AccessKeyId;

use super::policy::MalformedPolicy;

const BEGIN: &str = "${";

/// Variables that stand for the id of the key that signed, as it stands in principals; case means nothing.
const OF_THE_KEY: [&str; 2] = ["aws:username", "aws:userid"];

/// Whether a text has variables.
pub(super) fn has_variables(text: &str) -> bool {
    text.contains(BEGIN)
}

/// Refuses a text with variables that nothing fills in.
///
/// # Errors
/// Says which there are.
pub(super) fn check_variables(text: &str) -> Result<(), MalformedPolicy> {
    with_key(text, "").map(drop)
}

/// The text as a request of `who` fills it in; nothing where a variable stands for a key and nobody signed. An id has no
/// wildcards in it, so that nobody's matches more than itself.
pub(super) fn filled_in<'t>(text: &'t str, who: Option<&AccessKeyId>) -> Option<Cow<'t, str>> {
    if !has_variables(text) {
        return Some(Cow::Borrowed(text));
    }
    with_key(text, who?.as_str()).ok().map(Cow::Owned)
}

fn with_key(text: &str, id: &str) -> Result<String, MalformedPolicy> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let variable = after.split_once('}');
        let known =
            variable.filter(|(name, _)| OF_THE_KEY.iter().any(|known| known.eq_ignore_ascii_case(name)));
        let (_, behind) = known.ok_or_else(|| {
            MalformedPolicy(
                "Policy variables other than ${aws:username} and ${aws:userid} are not supported yet".into(),
            )
        })?;
        filled.push_str(before);
        filled.push_str(id);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_stands_for_whoever_signed() {
        let id = AccessKeyId::parse("WKREADER0001").unwrap();
        let filled = |text, who| filled_in(text, who).map(Cow::into_owned);
        for (text, expected) in [
            ("photos/${aws:username}/*", "photos/WKREADER0001/*"),
            ("${AWS:UserName}${aws:userid}", "WKREADER0001WKREADER0001"),
            ("$a{b}$", "$a{b}$"),
        ] {
            assert_eq!(filled(text, Some(&id)).as_deref(), Some(expected));
            check_variables(text).unwrap();
        }
        assert_eq!(filled("photos/${aws:username}/*", None), None);
        assert_eq!(filled("photos/*", None).as_deref(), Some("photos/*"));
        for unknown in [
            "${aws:SourceIp}",
            "${*}",
            "${aws:username, 'nobody'}",
            "${aws:username",
            "${",
        ] {
            assert!(check_variables(unknown).is_err(), "{unknown}");
        }
    }
}
