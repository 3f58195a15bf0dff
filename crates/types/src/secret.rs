//! Secrets that cannot be printed or serialised, and are wiped when dropped.

use zeroize::{Zeroize, Zeroizing};

/// A secret value. It has no `Debug`, `Display` or `Serialize`, so it cannot reach a log, an error or a record by
/// accident; [`Secret::expose`] is the only way in, easy to search for.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value over.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}
