//! Names access keys in the words that S3 has for users: the id is that of the key, the display name is the key's name.

use storage::Store;
use storage::model::{AccessKey, AccessKeyId};

use crate::xml::XmlWriter;

/// An access key as answers name it, whether it owns something, began an upload, or is granted something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    id: String,
    name: String,
}

impl User {
    /// Whom an id means. A key that was deleted has no name any more, so its id stands for it.
    pub(super) fn of(store: &Store, id: &AccessKeyId) -> Self {
        match store.access_key(id) {
            Ok(key) => Self::from(&*key),
            Err(_) => Self::unnamed(id.as_str()),
        }
    }

    /// Who began an upload: a key, or somebody who did not sign.
    pub(super) fn initiator(store: &Store, id: Option<&AccessKeyId>) -> Self {
        id.map_or_else(|| Self::unnamed("anonymous"), |id| Self::of(store, id))
    }

    /// Somebody of whom no more than an id is known.
    pub(super) fn unnamed(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
        }
    }

    /// An element that names the user.
    pub(super) fn element(&self, xml: &mut XmlWriter, element: &str) {
        xml.element(element, |xml| self.content(xml));
    }

    /// What stands in such an element.
    pub(super) fn content(&self, xml: &mut XmlWriter) {
        xml.text("ID", &self.id);
        xml.text("DisplayName", &self.name);
    }
}

impl From<&AccessKey> for User {
    fn from(key: &AccessKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.as_str().to_owned(),
        }
    }
}
