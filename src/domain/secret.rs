//! Values that must not reach a log, an error text or a core dump.
use std::fmt;

use zeroize::Zeroize;

/// Shows as `[secret]` in every build and is wiped when dropped. To read it, say so:
/// [`Secret::expose`]. It has neither `PartialEq` (compare in constant time) nor `Serialize`.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value in.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Reads the value.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
