//! The sealed row of somebody's factors, in its forms through time.
use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::infra::store::row;

/// Before there were passkeys.
const WITHOUT_PASSKEYS: u8 = 1;
const FORMAT: u8 = 2;

/// All factors of somebody.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) totp: Option<TotpRow>,
    /// Keyed digests; a used one is gone.
    pub(super) recovery: Vec<[u8; 32]>,
    pub(super) passkeys: Vec<PasskeyRow>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TotpRow {
    pub(super) secret: Zeroizing<Vec<u8>>,
    pub(super) since: u64,
    /// The last time step whose code was taken; no code of it or of an older one counts again.
    pub(super) used_step: u64,
}

/// A passkey: nothing in it is secret, but it tells which devices somebody has.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PasskeyRow {
    /// Our name for it, in forms.
    pub(super) handle: [u8; 16],
    /// Its owner's name for it.
    pub(super) name: String,
    /// The authenticator's name for it.
    pub(super) credential: Vec<u8>,
    /// Public key, counter and what the authenticator said of itself, as the library keeps them.
    pub(super) kept: Vec<u8>,
    pub(super) since: u64,
    pub(super) used: Option<u64>,
    /// The highest counter that was taken.
    pub(super) counter: u32,
    /// Since when it opens nothing: its counter ran backwards, so there are two of it.
    pub(super) copied: Option<u64>,
}

#[derive(Deserialize)]
struct RowWithoutPasskeys {
    totp: Option<TotpRow>,
    recovery: Vec<[u8; 32]>,
}

impl Row {
    /// What protects a login, besides what only replaces a lost factor.
    pub(super) fn is_set_up(&self) -> bool {
        self.totp.is_some() || !self.passkeys.is_empty()
    }
}

/// As it is sealed.
pub(super) fn encode(row: &Row) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(row::encode(FORMAT, row))
}

/// `None` when it is no row of ours.
pub(super) fn decode(value: &[u8]) -> Option<Row> {
    row::decode(FORMAT, value).or_else(|| {
        let old: RowWithoutPasskeys = row::decode(WITHOUT_PASSKEYS, value)?;
        Some(Row { totp: old.totp, recovery: old.recovery, passkeys: Vec::new() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_from_before_passkeys_are_read() {
        let totp = || TotpRow { secret: Zeroizing::new(vec![1; 20]), since: 5, used_step: 6 };
        let old = row::encode(WITHOUT_PASSKEYS, &(Some(totp()), vec![[7_u8; 32]]));
        let read = decode(&old).unwrap();
        assert!(read.is_set_up() && read.passkeys.is_empty() && read.recovery == [[7; 32]]);
        assert_eq!(read.totp.unwrap().used_step, 6);
        let new = Row { totp: Some(totp()), recovery: Vec::new(), passkeys: Vec::new() };
        assert!(decode(&encode(&new)).unwrap().is_set_up());
        assert!(decode(&[]).is_none() && decode(&[3, 0, 0, 0]).is_none());
    }
}
