//! Crockford's base 32 in lower case: safe to read aloud, to double-click and to put in a URL or SPIFFE path.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Length of 16 bytes in this text form.
pub const LEN_128: usize = 26;

/// Encodes 128 bits, most significant first; always [`LEN_128`] characters.
pub fn encode_128(value: u128) -> String {
    (0..LEN_128)
        .rev()
        .map(|i| {
            let digit = usize::try_from((value >> (i * 5)) & 31).unwrap_or(0);
            char::from(ALPHABET.get(digit).copied().unwrap_or(b'0'))
        })
        .collect()
}

/// Decodes what [`encode_128`] made. `None` for another length, another character, or more than 128 bits: there is
/// one text for one value.
pub fn decode_128(text: &str) -> Option<u128> {
    if text.len() != LEN_128 {
        return None;
    }
    let mut value: u128 = 0;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|c| *c == byte)?;
        if value >> 123 != 0 {
            return None;
        }
        value = (value << 5) | u128::try_from(digit).ok()?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_comes_back(value: u128) {
            prop_assert_eq!(decode_128(&encode_128(value)), Some(value));
        }
    }

    #[test]
    fn refuses_other_lengths_letters_and_overflow() {
        assert_eq!(decode_128(""), None);
        assert_eq!(decode_128(&"0".repeat(25)), None);
        assert_eq!(decode_128(&"u".repeat(26)), None);
        assert_eq!(decode_128(&"A".repeat(26)), None);
        assert_eq!(decode_128(&"z".repeat(26)), None);
        assert_eq!(decode_128(&format!("7{}", "z".repeat(25))), Some(u128::MAX));
    }
}
