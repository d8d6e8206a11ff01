//! Reads and prints the checksums of S3's headers, trailers and XML.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use storage::model::{Checksum, ChecksumAlgorithm, ChecksumKind, ChecksumValue};

use crate::error::{S3Code, S3Error, S3Result};

/// The header or trailer that carries a value of this algorithm, e.g. `x-amz-checksum-crc32`.
pub const fn header_name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
    }
}

/// The XML element that carries a value of this algorithm, e.g. `ChecksumCRC32`.
pub const fn element_name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "ChecksumCRC32",
        ChecksumAlgorithm::Crc32c => "ChecksumCRC32C",
        ChecksumAlgorithm::Crc64Nvme => "ChecksumCRC64NVME",
        ChecksumAlgorithm::Sha1 => "ChecksumSHA1",
        ChecksumAlgorithm::Sha256 => "ChecksumSHA256",
    }
}

/// The algorithm whose header or trailer has this name, in any case.
pub fn algorithm_of_header(name: &str) -> Option<ChecksumAlgorithm> {
    ChecksumAlgorithm::ALL
        .into_iter()
        .find(|algorithm| header_name(*algorithm).eq_ignore_ascii_case(name))
}

/// Reads a base64 value.
///
/// # Errors
/// `InvalidRequest`: not base64, or not as long as the algorithm says.
pub fn parse_value(algorithm: ChecksumAlgorithm, text: &str) -> S3Result<ChecksumValue> {
    BASE64
        .decode(text.trim())
        .ok()
        .and_then(|raw| ChecksumValue::new(algorithm, &raw).ok())
        .ok_or_else(|| invalid_value(algorithm))
}

fn invalid_value(algorithm: ChecksumAlgorithm) -> S3Error {
    S3Error::invalid_request(format!("Value for {} header is invalid.", header_name(algorithm)))
}

/// Prints a value in base64.
pub fn print_value(value: &ChecksumValue) -> String {
    BASE64.encode(value.as_bytes())
}

/// Prints an object's checksum: base64, with `-N` when it is over N parts' checksums.
pub fn print(checksum: &Checksum) -> String {
    match checksum.kind {
        ChecksumKind::FullObject => print_value(&checksum.value),
        ChecksumKind::Composite { parts } => format!("{}-{parts}", print_value(&checksum.value)),
    }
}

/// What `x-amz-checksum-type` and `ChecksumType` say of a checksum.
pub const fn kind_name(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => "FULL_OBJECT",
        ChecksumKind::Composite { .. } => "COMPOSITE",
    }
}

/// What `x-amz-checksum-type` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumType {
    /// `FULL_OBJECT`.
    FullObject,
    /// `COMPOSITE`.
    Composite,
}

/// What a request says about checksums of its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChecksumHeaders {
    /// The checksum to compute: of the value given, the trailer announced, or the algorithm named.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// The value of an `x-amz-checksum-*` header.
    pub value: Option<ChecksumValue>,
    /// The algorithm of the trailer `x-amz-trailer` announces.
    pub trailer: Option<ChecksumAlgorithm>,
    /// `x-amz-checksum-type`.
    pub kind: Option<ChecksumType>,
    /// Over how many parts the value is, where it says so (`…-3`).
    pub parts: Option<u16>,
}

impl ChecksumHeaders {
    /// Reads `x-amz-checksum-*`, `x-amz-sdk-checksum-algorithm` (or `x-amz-checksum-algorithm`),
    /// `x-amz-trailer` and `x-amz-checksum-type`.
    ///
    /// # Errors
    /// `InvalidRequest`: a malformed or second value, or an unknown algorithm. `BadDigest`: the algorithm named
    /// is not that of the value or trailer.
    pub fn parse(headers: &HeaderMap) -> S3Result<Self> {
        let found = Self::parse_of_object(headers)?;
        match (found.parts, found.value) {
            (Some(_), Some(value)) => Err(invalid_value(value.algorithm())),
            _ => Ok(found),
        }
    }

    /// As [`Self::parse`], where the value may be that of an object of parts, as [`print`] prints it.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_of_object(headers: &HeaderMap) -> S3Result<Self> {
        let mut found = Self::default();
        for algorithm in ChecksumAlgorithm::ALL {
            let mut values = headers.get_all(header_name(algorithm)).iter();
            let Some(value) = values.next() else { continue };
            if found.value.is_some() || values.next().is_some() {
                return Err(S3Error::invalid_request(
                    "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.",
                ));
            }
            let text = value.to_str().unwrap_or_default();
            // Base64 has no hyphen.
            let (value, parts) = text
                .split_once('-')
                .map_or((text, None), |(value, parts)| (value, Some(parts)));
            found.value = Some(parse_value(algorithm, value)?);
            let parts = parts.map(|parts| parts.trim().parse().map_err(|_| invalid_value(algorithm)));
            found.parts = parts.transpose()?;
        }
        found.trailer = announced_trailer(headers)?;
        found.kind = text(headers, "x-amz-checksum-type").map(parse_kind).transpose()?;
        let named = text(headers, "x-amz-sdk-checksum-algorithm")
            .or_else(|| text(headers, "x-amz-checksum-algorithm"))
            .map(parse_algorithm)
            .transpose()?;
        let valued = found.value.map(|value| value.algorithm());
        if found.trailer.is_some() && valued.is_some() {
            return Err(S3Error::invalid_request(
                "Expecting a single x-amz-checksum- header or trailer. Multiple checksum types are not allowed.",
            ));
        }
        found.algorithm = valued.or(found.trailer).or(named);
        if named.is_some() && named != found.algorithm {
            return Err(S3Error::with_message(
                S3Code::BadDigest,
                "The algorithm of x-amz-sdk-checksum-algorithm is not that of the checksum given.",
            ));
        }
        Ok(found)
    }
}

/// Reads an algorithm's name.
///
/// # Errors
/// `InvalidRequest` for an unknown one.
pub fn parse_algorithm(name: &str) -> S3Result<ChecksumAlgorithm> {
    ChecksumAlgorithm::from_name(name.trim()).ok_or_else(|| {
        S3Error::invalid_request(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: \
             [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    })
}

/// Reads `FULL_OBJECT` or `COMPOSITE`.
///
/// # Errors
/// `InvalidRequest` for anything else.
pub fn parse_kind(text: &str) -> S3Result<ChecksumType> {
    match text.trim() {
        "FULL_OBJECT" => Ok(ChecksumType::FullObject),
        "COMPOSITE" => Ok(ChecksumType::Composite),
        _ => Err(S3Error::invalid_request(
            "Value for x-amz-checksum-type header is invalid.",
        )),
    }
}

/// Reads Content-MD5.
///
/// # Errors
/// `InvalidDigest`: not the base64 of 16 bytes, or given twice.
pub fn parse_content_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let mut values = headers.get_all("content-md5").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let raw = BASE64.decode(value.as_bytes().trim_ascii()).unwrap_or_default();
    match <[u8; 16]>::try_from(raw) {
        Ok(md5) if values.next().is_none() => Ok(Some(md5)),
        _ => Err(S3Error::new(S3Code::InvalidDigest)),
    }
}

/// The checksum `x-amz-trailer` announces.
pub(crate) fn announced_trailer(headers: &HeaderMap) -> S3Result<Option<ChecksumAlgorithm>> {
    let mut announced = None;
    for value in headers.get_all("x-amz-trailer") {
        for name in value
            .to_str()
            .unwrap_or("?")
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            let algorithm = algorithm_of_header(name).ok_or_else(|| {
                S3Error::invalid_request("The value specified in the x-amz-trailer header is not supported.")
            })?;
            if announced.replace(algorithm).is_some() {
                return Err(S3Error::invalid_request(
                    "Expecting a single x-amz-checksum- trailer. Multiple checksum types are not allowed.",
                ));
            }
        }
    }
    Ok(announced)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn parse(pairs: &[(&'static str, &str)]) -> S3Result<ChecksumHeaders> {
        ChecksumHeaders::parse(&headers(pairs))
    }

    #[test]
    fn every_algorithm_is_known_by_its_header() {
        for algorithm in ChecksumAlgorithm::ALL {
            let value = ChecksumValue::new(algorithm, &vec![7; algorithm.bytes()]).unwrap();
            let printed = print_value(&value);
            assert_eq!(parse_value(algorithm, &printed).unwrap(), value);
            assert_eq!(
                algorithm_of_header(&header_name(algorithm).to_uppercase()),
                Some(algorithm)
            );
            let found = parse(&[(header_name(algorithm), &printed)]).unwrap();
            assert_eq!(
                (found.algorithm, found.value, found.trailer),
                (Some(algorithm), Some(value), None)
            );
        }
    }

    #[test]
    fn a_composite_checksum_says_how_many_parts_it_has() {
        let value = ChecksumValue::new(ChecksumAlgorithm::Crc32, &[0; 4]).unwrap();
        let of = |kind| print(&Checksum { value, kind });
        assert_eq!(of(ChecksumKind::FullObject), "AAAAAA==");
        assert_eq!(of(ChecksumKind::Composite { parts: 3 }), "AAAAAA==-3");
    }

    #[test]
    fn a_checksum_of_parts_is_read_as_it_is_printed() {
        let of_object = |text| ChecksumHeaders::parse_of_object(&headers(&[("x-amz-checksum-crc32", text)]));
        let found = of_object("AAAAAA==-3").unwrap();
        assert_eq!((found.value.is_some(), found.parts), (true, Some(3)));
        assert_eq!(of_object("AAAAAA==").unwrap().parts, None);
        assert!(of_object("AAAAAA==-").is_err() && of_object("AAAAAA==-x").is_err());
    }

    #[test]
    fn a_trailer_or_a_name_says_what_to_compute() {
        let trailer = parse(&[
            ("x-amz-trailer", "X-Amz-Checksum-Sha256"),
            ("x-amz-sdk-checksum-algorithm", "sha256"),
            ("x-amz-checksum-type", "COMPOSITE"),
        ])
        .unwrap();
        assert_eq!(trailer.algorithm, Some(ChecksumAlgorithm::Sha256));
        assert_eq!(trailer.trailer, Some(ChecksumAlgorithm::Sha256));
        assert_eq!(trailer.kind, Some(ChecksumType::Composite));
        let named = parse(&[("x-amz-checksum-algorithm", "CRC64NVME")]).unwrap();
        assert_eq!(named.algorithm, Some(ChecksumAlgorithm::Crc64Nvme));
        assert_eq!(parse(&[]).unwrap(), ChecksumHeaders::default());
    }

    #[test]
    fn malformed_and_contradicting_checksums_are_refused() {
        let crc = ("x-amz-checksum-crc32", "AAAAAA==");
        for pairs in [
            &[("x-amz-checksum-crc32", "AAAA")][..],
            &[("x-amz-checksum-crc32", "?")],
            &[("x-amz-checksum-crc32", "AAAAAA==-3")],
            &[crc, crc],
            &[crc, ("x-amz-checksum-crc32c", "AAAAAA==")],
            &[crc, ("x-amz-trailer", "x-amz-checksum-crc32")],
            &[("x-amz-sdk-checksum-algorithm", "MD4")],
            &[("x-amz-checksum-type", "HALF")],
            &[("x-amz-trailer", "x-amz-meta-a")],
            &[("x-amz-trailer", "x-amz-checksum-crc32, x-amz-checksum-sha1")],
        ] {
            assert_eq!(
                parse(pairs).unwrap_err().code(),
                S3Code::InvalidRequest,
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn content_md5_is_sixteen_bytes_or_refused() {
        let md5 = |text| parse_content_md5(&headers(&[("content-md5", text)]));
        assert_eq!(parse_content_md5(&HeaderMap::new()).unwrap(), None);
        assert_eq!(md5("AQEBAQEBAQEBAQEBAQEBAQ==").unwrap(), Some([1; 16]));
        for bad in ["", "AQEB", "AQEBAQEBAQEBAQEBAQEBAQ", "no base64 at all!"] {
            assert_eq!(md5(bad).unwrap_err().code(), S3Code::InvalidDigest, "{bad}");
        }
    }
}
