//! The least S3 client: signs a request with Signature Version 4, sends it, and reads the answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, digest};
use ring::hmac::{HMAC_SHA256, Key, sign};

/// How long an answer may take: longer than a store tries.
const PATIENCE: Duration = Duration::from_secs(40);

/// Who asks, and whom.
pub(crate) struct Client {
    /// Host and port.
    pub(crate) host: String,
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// Status and body of an answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// The client of a server that printed these URLs when it was ready.
    pub(crate) fn of(ready: &serde_json::Value, id: &str, secret: &str) -> Self {
        let url = ready["s3"][0].as_str().unwrap();
        Self {
            host: url.strip_prefix("http://").unwrap().to_owned(),
            id: id.to_owned(),
            secret: secret.to_owned(),
        }
    }

    pub(crate) fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.ask("PUT", path, &[], body)
    }

    /// Puts with more headers: lower-case names that sort after `x-amz-date`, in order.
    pub(crate) fn put_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.ask("PUT", path, headers, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// `target`: a path, perhaps with the name of a sub-resource after a question mark.
    fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let (date, time) = now();
        let hash = hex::encode(digest(&SHA256, body));
        let host = &self.host;
        let names: String = headers.iter().map(|(name, _)| format!(";{name}")).collect();
        let signed = format!("host;x-amz-content-sha256;x-amz-date{names}");
        let lines = |end| {
            headers
                .iter()
                .map(move |(name, value)| format!("{name}:{value}{end}"))
        };
        let more: String = lines("\n").collect();
        let sent: String = lines("\r\n").collect();
        let (path, query) = match target.split_once('?') {
            Some((path, name)) => (path, format!("{name}=")),
            None => (target, String::new()),
        };
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{hash}\nx-amz-date:{time}\n{more}\n{signed}\n{hash}"
        );
        let scope = format!("{date}/warren/s3/aws4_request");
        let canonical = hex::encode(digest(&SHA256, canonical.as_bytes()));
        let signature = self.signature(&date, &format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}"));
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\
             x-amz-date: {time}\r\nx-amz-content-sha256: {hash}\r\n{sent}authorization: AWS4-HMAC-SHA256 \
             Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}\r\n\r\n",
            body.len(),
            self.id
        );
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        read(&answer)
    }

    fn signature(&self, date: &str, text: &str) -> String {
        let first = format!("AWS4{}", self.secret).into_bytes();
        let key = [date, "warren", "s3", "aws4_request"]
            .iter()
            .fold(first, |key, part| hmac(&key, part));
        hex::encode(hmac(&key, text))
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), text.as_bytes())
        .as_ref()
        .to_vec()
}

fn read(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: answer[end + 4..].to_vec(),
    }
}

/// The day, and the second, as signatures have them (civil-from-days, Howard Hinnant).
fn now() -> (String, String) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let date = format!("{year:04}{month:02}{day:02}");
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    (date.clone(), format!("{date}T{hour:02}{minute:02}{second:02}Z"))
}
