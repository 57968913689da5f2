//! Letters and numbers for tests.
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// A seed for a random test, printed so that a failure can be run again with
/// `VAGUEMESTRE_TEST_SEED`.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("VAGUEMESTRE_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    println!("VAGUEMESTRE_TEST_SEED={seed}");
    seed
}

/// A small generator with a good enough spread (SplitMix64) whose whole run follows its seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// A Message-ID that no other letter has.
pub(crate) fn message_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("<{}.{count}@client.test>", uuid::Uuid::new_v4().simple())
}

/// A plain letter of about `octets` octets.
pub(crate) fn letter(from: &str, to: &str, message_id: &str, octets: usize) -> Vec<u8> {
    let mut letter = format!(
        "From: {from}\r\nTo: {to}\r\nSubject: Compte rendu\r\nMessage-ID: {message_id}\r\n\
         Date: Fri, 20 Nov 2026 14:36:00 +0100\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n"
    );
    let line =
        "Le patient va bien ; prochain rendez-vous dans un mois. Bien confraternellement.\r\n";
    while letter.len() < octets {
        letter.push_str(line);
    }
    letter.into_bytes()
}
