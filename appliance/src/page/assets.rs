//! The files of the page: a style sheet, scripts and an icon, at addresses that change with what is in them.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::routes::{Body, full};

/// What browsers keep for ever under an address.
#[derive(Debug)]
struct Asset {
    path: String,
    media: &'static str,
    content: &'static str,
}

/// All files of the page.
#[derive(Debug)]
pub(crate) struct Assets {
    style: Asset,
    script: Asset,
    upload: Asset,
    icon: Asset,
}

impl Asset {
    fn new(name: &str, media: &'static str, content: &'static str) -> Self {
        let hash = blake3::hash(content.as_bytes()).to_hex();
        let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
        Self {
            path: format!("/assets/{stem}-{}.{extension}", &hash[..12]),
            media,
            content,
        }
    }
}

impl Assets {
    pub(crate) fn new() -> Self {
        Self {
            style: Asset::new(
                "page.css",
                "text/css; charset=utf-8",
                include_str!("../../assets/page.css"),
            ),
            script: Asset::new(
                "page.js",
                "text/javascript; charset=utf-8",
                include_str!("../../assets/page.js"),
            ),
            upload: Asset::new(
                "upload.js",
                "text/javascript; charset=utf-8",
                include_str!("../../assets/upload.js"),
            ),
            icon: Asset::new("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
        }
    }

    pub(crate) fn style(&self) -> &str {
        &self.style.path
    }

    pub(crate) fn script(&self) -> &str {
        &self.script.path
    }

    /// The script of pages on which files are uploaded.
    pub(crate) fn upload(&self) -> &str {
        &self.upload.path
    }

    pub(crate) fn icon(&self) -> &str {
        &self.icon.path
    }

    /// The file at this address.
    pub(crate) fn find(&self, path: &str) -> Option<Response<Body>> {
        let asset = [&self.style, &self.script, &self.upload, &self.icon]
            .into_iter()
            .find(|asset| asset.path == path)?;
        let mut response = full(
            StatusCode::OK,
            asset.media,
            Bytes::from_static(asset.content.as_bytes()),
        );
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
        Some(response)
    }
}
