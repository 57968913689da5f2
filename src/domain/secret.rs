//! Values that must not reach a log, an error text or a core dump.
use std::fmt;

use zeroize::optimization_barrier;

/// Shows as `[secret]` in every build and is wiped when dropped. To read it, say so:
/// [`Secret::expose`]. It has neither `PartialEq` (compare in constant time) nor `Serialize`.
pub struct Secret<T: Wipe>(T);

impl<T: Wipe> Secret<T> {
    /// Takes the value in.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Reads the value.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Wipe> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl<T: Wipe> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What can be wiped in one sweep. `zeroize` writes octet by octet and goes through the memory
/// of a vector twice, which for a letter takes longer than to decrypt it; its barrier, which
/// keeps the compiler from leaving a sweep out, is used here as well.
pub trait Wipe {
    /// Overwrites all that it holds, and the room that it has held something in before.
    fn wipe(&mut self);
}

impl Wipe for [u8] {
    fn wipe(&mut self) {
        self.fill(0);
        optimization_barrier(self);
    }
}

impl Wipe for Vec<u8> {
    fn wipe(&mut self) {
        self.clear();
        self.resize(self.capacity(), 0);
        optimization_barrier(self.as_slice());
        self.clear();
    }
}

impl Wipe for String {
    fn wipe(&mut self) {
        std::mem::take(self).into_bytes().wipe();
    }
}

impl<const N: usize> Wipe for [u8; N] {
    fn wipe(&mut self) {
        self.as_mut_slice().wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wiped_holds_nothing_and_keeps_its_room() {
        let mut octets = b"letter".to_vec();
        let room = octets.capacity();
        octets.wipe();
        assert_eq!((octets.len(), octets.capacity()), (0, room));
        octets.resize(room, 1);
        octets[..].wipe();
        assert!(octets.iter().all(|octet| *octet == 0));
        let mut text = "letter".to_owned();
        text.wipe();
        assert!(text.is_empty());
        let mut key = [7; 32];
        key.wipe();
        assert_eq!(key, [0; 32]);
    }
}
