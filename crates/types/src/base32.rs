//! Crockford's base 32 in lower case: safe to read aloud, to double-click and to put in a URL or SPIFFE path.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Length of 16 bytes in this text form.
pub const LEN_128: usize = 26;

/// No digit; every digit is below 32.
const NONE: u8 = 0xff;

/// What each byte stands for.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it, and would refuse")]
const DIGITS: [u8; 256] = {
    let mut digits = [NONE; 256];
    let mut digit = 0;
    while digit < ALPHABET.len() {
        digits[ALPHABET[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

/// Encodes 128 bits, most significant first; always [`LEN_128`] characters.
pub fn encode_128(value: u128) -> String {
    digits_128(value).iter().map(|byte| char::from(*byte)).collect()
}

/// The same, in ASCII.
pub(crate) fn digits_128(value: u128) -> [u8; LEN_128] {
    let digit = |place: usize| usize::try_from((value >> (place * 5)) & 31).unwrap_or(0);
    std::array::from_fn(|at| ALPHABET.get(digit(LEN_128 - 1 - at)).copied().unwrap_or(b'0'))
}

/// Decodes what [`encode_128`] made. `None` for another length, another character, or more than 128 bits: there is
/// one text for one value.
pub fn decode_128(text: &str) -> Option<u128> {
    let text: &[u8; LEN_128] = text.as_bytes().try_into().ok()?;
    let digit = |byte: u8| DIGITS.get(usize::from(byte)).copied().unwrap_or(NONE);
    // 26 digits have two bits more than there are.
    let fits = text.first().is_some_and(|first| digit(*first) < 8);
    let (value, seen) = text.iter().fold((0, 0), |(value, seen), byte| {
        let digit = digit(*byte);
        ((value << 5) | u128::from(digit & 31), seen | digit)
    });
    (fits && seen < 32).then_some(value)
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
        assert_eq!(decode_128(&format!("8{}", "0".repeat(25))), None);
        for wrong in ['i', 'l', 'o', 'u', 'A', 'é', '\0', '`', '{'] {
            let text: String = std::iter::once('0').chain([wrong]).chain("0".repeat(24).chars()).collect();
            assert_eq!(decode_128(&text), None, "{wrong:?}");
        }
        assert_eq!(decode_128(&format!("7{}", "z".repeat(25))), Some(u128::MAX));
    }
}
