//! A number at the end of a record, of which a record that was written before there was such a thing says nothing.
//!
//! Invariant: zero takes no byte, so that records that have nothing to say stay as they always were, for older brokers too.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Must be the last field of what is encoded with postcard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail(pub u64);

impl Serialize for Tail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => serializer.serialize_unit(),
            number => serializer.serialize_u64(number),
        }
    }
}

impl<'de> Deserialize<'de> for Tail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(u64::deserialize(deserializer).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_zero_and_zero_is_nothing() {
        for number in [0, 1, u64::MAX] {
            let bytes = postcard::to_stdvec(&(7_u8, Tail(number))).unwrap();
            assert_eq!(bytes.len() == 1, number == 0);
            assert_eq!(postcard::from_bytes::<(u8, Tail)>(&bytes).unwrap(), (7, Tail(number)));
        }
    }
}
