//! A request id in few bytes: as a rule it is the text of a UUID, or ends with the characters of one of our ids, and their
//! bytes say as much.

use serde::{Deserialize, Serialize};
use taskpass_types::{LeaseId, ParseNameError, RequestId};
use uuid::Uuid;

/// A request id that is stored so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(crate) struct Short(pub(crate) RequestId);

#[derive(Debug, Serialize, Deserialize)]
enum Written {
    Text(RequestId),
    Uuid([u8; 16]),
    /// What is before the characters of an id, and that id as if it were a lease's.
    Id(String, LeaseId),
}

/// How many characters of an id are not its kind.
const ID_CHARS: usize = 26;

impl From<Short> for Written {
    fn from(Short(id): Short) -> Self {
        let text = id.as_str();
        let same = |written: &Self| Short::try_from(written).is_ok_and(|short| short.0 == id);
        let uuid = Uuid::try_parse(text).map(|uuid| Self::Uuid(*uuid.as_bytes())).ok();
        uuid.or_else(|| ends_with_id(text)).filter(same).unwrap_or(Self::Text(id))
    }
}

fn ends_with_id(text: &str) -> Option<Written> {
    let (before, chars) = text.split_at_checked(text.len().checked_sub(ID_CHARS)?)?;
    let id = format!("{}{chars}", LeaseId::PREFIX).parse().ok()?;
    Some(Written::Id(before.to_owned(), id))
}

impl TryFrom<&Written> for Short {
    type Error = ParseNameError;

    fn try_from(written: &Written) -> Result<Self, ParseNameError> {
        Ok(Self(match written {
            Written::Text(id) => id.clone(),
            Written::Uuid(bytes) => RequestId::new(Uuid::from_bytes(*bytes).to_string())?,
            Written::Id(before, id) => {
                let id = id.to_string();
                RequestId::new([before, id.trim_start_matches(LeaseId::PREFIX)].concat())?
            }
        }))
    }
}

impl TryFrom<Written> for Short {
    type Error = ParseNameError;

    fn try_from(written: Written) -> Result<Self, ParseNameError> {
        Self::try_from(&written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taskpass_types::DecisionId;

    #[test]
    fn every_id_comes_back_and_the_usual_ones_are_short() {
        let (uuid, ours) = (Uuid::now_v7().to_string(), DecisionId::new().to_string());
        let chars = ours.trim_start_matches(DecisionId::PREFIX);
        for (text, most) in [
            ("r1", 4),
            ("0", 3),
            (uuid.as_str(), 17),
            (&uuid.to_uppercase(), 38),
            (&uuid.replace('-', ""), 34),
            (&format!("{{{uuid}}}"), 40),
            (&ours, 21),
            (&ours.to_uppercase(), 31),
            (chars, 18),
            (&format!("plan-ls_{chars}"), 26),
            (&format!("ls_ls_{chars}"), 24),
            // More than 128 bits, and a letter that there is not.
            ("zzzzzzzzzzzzzzzzzzzzzzzzzz", 28),
            ("dc_ilou0000000000000000000000", 31),
        ] {
            let short = Short(RequestId::new(text).unwrap());
            let bytes = postcard::to_stdvec(&short).unwrap();
            assert_eq!(postcard::from_bytes::<Short>(&bytes).unwrap(), short);
            assert!(bytes.len() <= most, "{text} takes {} bytes", bytes.len());
        }
    }

    #[test]
    fn what_is_no_id_is_not_read() {
        for bad in [&[0, 1, b' '][..], &[2, 1, b' '], &[3, 0]] {
            let bytes = [bad, &[0; 16]].concat();
            assert!(postcard::take_from_bytes::<Short>(&bytes).is_err(), "{bad:?}");
        }
    }
}
