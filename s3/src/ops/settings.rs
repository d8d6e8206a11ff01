//! Settings of a bucket that cannot be changed yet: what holds, or that nothing is set.

use crate::error::{S3Code, S3Error};
use crate::response::{Reply, xml};
use crate::route::{DefaultSetting, UnsetSetting};
use crate::xml::XmlWriter;

/// Says what holds where nobody sets it.
pub(crate) fn get_default(setting: DefaultSetting) -> Reply {
    let mut document = XmlWriter::document();
    match setting {
        DefaultSetting::Accelerate => document.root("AccelerateConfiguration", |_| {}),
        DefaultSetting::RequestPayment => {
            document.root("RequestPaymentConfiguration", |xml| {
                xml.text("Payer", "BucketOwner")
            });
        }
    }
    xml(document.finish())
}

/// The answer to reading a setting no bucket has.
pub(crate) fn unset(setting: UnsetSetting) -> S3Error {
    S3Error::new(match setting {
        UnsetSetting::Replication => S3Code::ReplicationConfigurationNotFoundError,
    })
}
