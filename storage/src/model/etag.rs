//! Entity tags as S3 computes them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not an entity tag of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an ETag is 32 hexadecimal digits, with `-` and a part count for a multipart upload")]
pub struct InvalidETag;

/// The MD5 of a plain object, or the MD5 over the parts' MD5s and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ETag {
    /// MD5 of the content.
    Md5(#[serde(with = "serde_bytes")] [u8; 16]),
    /// MD5 of the concatenated MD5s of the parts.
    Multipart {
        /// MD5 over the raw MD5s.
        #[serde(with = "serde_bytes")]
        md5: [u8; 16],
        /// How many parts, 1–10000.
        parts: u16,
    },
}

impl ETag {
    /// Reads a tag with or without its quotes.
    ///
    /// # Errors
    /// Not a tag this store ever gives; for a condition that means "does not match".
    pub fn parse(text: &str) -> Result<Self, InvalidETag> {
        let text = text
            .strip_prefix('"')
            .and_then(|t| t.strip_suffix('"'))
            .unwrap_or(text);
        let (digits, parts) = match text.split_once('-') {
            Some((digits, parts)) => (digits, Some(parts.parse().map_err(|_| InvalidETag)?)),
            None => (text, None),
        };
        let mut md5 = [0; 16];
        hex::decode_to_slice(digits, &mut md5).map_err(|_| InvalidETag)?;
        Ok(match parts {
            Some(parts) => Self::Multipart { md5, parts },
            None => Self::Md5(md5),
        })
    }
}

/// Without quotes.
impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Md5(md5) => f.write_str(&hex::encode(md5)),
            Self::Multipart { md5, parts } => write!(f, "{}-{parts}", hex::encode(md5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_read_back_what_they_print() {
        for tag in [
            ETag::Md5([0xab; 16]),
            ETag::Multipart {
                md5: [1; 16],
                parts: 10_000,
            },
        ] {
            assert_eq!(ETag::parse(&tag.to_string()), Ok(tag));
            assert_eq!(ETag::parse(&format!("\"{tag}\"")), Ok(tag));
        }
        for bad in ["", "x", "W/\"0\"", "0123", "00000000000000000000000000000000-x"] {
            assert_eq!(ETag::parse(bad), Err(InvalidETag), "{bad}");
        }
    }
}
