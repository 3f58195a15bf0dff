//! How a task or a lease ended.

use super::{rfc3339, timestamp, word};
use crate::output::Style;
use serde::Serialize;
use taskpass_proto::v1;
use taskpass_types::Timestamp;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct End {
    pub(crate) reason: String,
    #[serde(serialize_with = "rfc3339")]
    pub(crate) time: Option<Timestamp>,
    pub(crate) by: String,
    pub(crate) epoch: u64,
}

impl From<v1::End> for End {
    fn from(end: v1::End) -> Self {
        Self {
            reason: word(end.reason().as_str_name(), "END_REASON_"),
            time: timestamp(end.time),
            by: end.by,
            epoch: end.epoch,
        }
    }
}

impl End {
    /// For people: `killed 3m ago by operator/maya (epoch 12)`.
    pub(crate) fn sentence(&self, style: &Style) -> String {
        let epoch = if self.epoch == 0 { String::new() } else { format!(" (epoch {})", self.epoch) };
        format!("{} {} by {}{epoch}", self.reason, style.past(self.time), self.by)
    }
}

/// One word for what lives or has ended.
pub(super) fn state(alive: &str, end: Option<&End>) -> String {
    end.map_or_else(|| alive.to_owned(), |end| end.reason.clone())
}
