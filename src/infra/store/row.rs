//! The form of a stored value: a format octet, then the postcard form of a small private struct.
//!
//! Each table has its own format number and raises it when its struct changes, so that a newer
//! relay knows an older row, and an older one says that it does not know a newer.
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Format octet and postcard form.
pub(crate) fn encode<T: Serialize>(format: u8, row: &T) -> Vec<u8> {
    postcard::to_extend(row, vec![format])
        .expect("rows of plain numbers, strings and lists always have a postcard form")
}

/// `None` when the value is not a whole row of this format.
pub(crate) fn decode<T: DeserializeOwned>(format: u8, value: &[u8]) -> Option<T> {
    let (first, rest) = value.split_first()?;
    if *first != format {
        return None;
    }
    postcard::from_bytes(rest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_in_its_own_format_only() {
        let stored = encode(3, &("letter", 7_u32));
        assert_eq!(decode(3, &stored), Some(("letter".to_owned(), 7_u32)));
        assert_eq!(decode::<(String, u32)>(2, &stored), None);
        assert_eq!(decode::<(String, u32)>(3, &stored[..stored.len() - 1]), None);
        assert_eq!(decode::<(String, u32)>(3, &[]), None);
    }
}
