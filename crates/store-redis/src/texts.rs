//! Many short texts in one piece of memory: the arguments of a call have thousands of them.

use std::io::Write as _;

/// A list of byte strings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.push_parts(&[text]);
    }

    /// One text, made of several.
    pub(crate) fn push_parts(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn push_number(&mut self, number: usize) {
        // Writing into memory does not fail.
        drop(write!(self.bytes, "{number}"));
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let begin = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(begin..*self.ends.get(index)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| self.bytes.get(begin..*end).unwrap_or_default())
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Texts {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut list = Self::default();
        texts.into_iter().for_each(|text| list.push(text.as_ref()));
        list
    }
}

impl From<Vec<Vec<u8>>> for Texts {
    fn from(texts: Vec<Vec<u8>>) -> Self {
        texts.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let mut texts: Texts = ["one", "", "three"].into_iter().collect();
        texts.push_parts(&[b"fo", b"ur"]);
        texts.push_number(120);
        let all = [&b"one"[..], b"", b"three", b"four", b"120"];
        assert_eq!(texts.iter().collect::<Vec<_>>(), all);
        assert_eq!((0..5).filter_map(|index| texts.get(index)).collect::<Vec<_>>(), all);
        assert_eq!((texts.len(), texts.get(5)), (5, None));
    }
}
