//! A code counts once, whatever happens at the same time.
use super::*;
use crate::infra::clock::ManualClock;
use crate::infra::directory::accounts::tests::NoKeys;
use crate::infra::store::simulated::SimulatedStore;

const MAILBOX: MailboxId = MailboxId::from_bytes([7; 16]);

struct Case {
    factors: Factors,
    clock: Arc<ManualClock>,
    store: Arc<SimulatedStore>,
}

fn case() -> Case {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_388_399)));
    let store = Arc::new(SimulatedStore::new(1));
    let factors = Factors::new(Arc::clone(&store) as _, Arc::new(NoKeys), Arc::clone(&clock) as _);
    Case { factors, clock, store }
}

fn code(secret: &Secret<Vec<u8>>, at: Timestamp) -> String {
    let totp = Builder::new().with_secret(secret.expose().clone()).build().unwrap();
    totp.generate(at.as_seconds()).to_string()
}

#[test]
fn codes_are_those_of_rfc_6238() {
    // RFC 6238, appendix B, SHA-1: the last six digits of the eight.
    let secret = b"12345678901234567890";
    for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
        let now = Timestamp::from_seconds(seconds);
        assert_eq!(step_of(secret, code, now), Some(seconds / 30));
        assert_eq!(step_of(secret, code, now.after(std::time::Duration::from_secs(90))), None);
        assert_eq!(step_of(secret, "000000", now), None);
    }
    for bad in ["", "28708", "2870822", "٢٨٧٠٨٢", "28708a"] {
        assert_eq!(step_of(secret, bad, Timestamp::from_seconds(59)), None, "{bad}");
    }
}

#[tokio::test]
async fn a_one_time_code_counts_once_and_no_older_one_after_it() {
    let Case { factors, clock, store } = case();
    let step = std::time::Duration::from_secs(30);
    let proposal = factors.propose_totp("Hôpital: test", "claire@hopital.mssante.test").unwrap();
    assert!(proposal.address.expose().starts_with("otpauth://totp/"), "an address");
    assert!(!factors.overview(&MAILBOX).await.unwrap().is_set_up(), "a proposal is nothing yet");
    assert!(
        !factors
            .confirm_totp(&MAILBOX, &proposal.secret, "000000", false, &Batch::new())
            .await
            .unwrap()
    );

    let first = code(&proposal.secret, clock.now());
    assert!(
        factors
            .confirm_totp(&MAILBOX, &proposal.secret, &first, false, &Batch::new())
            .await
            .unwrap()
    );
    assert!(factors.overview(&MAILBOX).await.unwrap().is_set_up());
    assert!(!factors.check_totp(&MAILBOX, &first).await.unwrap(), "it was used to turn codes on");

    let older = first;
    clock.set(clock.now().after(step));
    let second = code(&proposal.secret, clock.now());
    assert!(
        factors.check_totp(&MAILBOX, &format!(" {} {}", &second[..3], &second[3..])).await.unwrap()
    );
    assert!(!factors.check_totp(&MAILBOX, &second).await.unwrap(), "a replay");
    assert!(!factors.check_totp(&MAILBOX, &older).await.unwrap(), "an older one");
    // A restart forgets no used code.
    let again = Factors::new(Arc::clone(&store) as _, Arc::new(NoKeys), Arc::clone(&clock) as _);
    assert!(!again.check_totp(&MAILBOX, &second).await.unwrap());
    let other = MailboxId::from_bytes([8; 16]);
    assert!(!factors.check_totp(&other, &second).await.unwrap(), "somebody else's");
    factors.clear(&MAILBOX, &Batch::new()).await.unwrap();
    assert!(!factors.overview(&MAILBOX).await.unwrap().is_set_up());
}

#[tokio::test]
async fn of_two_who_show_the_same_code_at_once_one_comes_in() {
    let Case { factors, clock, .. } = case();
    let proposal = factors.propose_totp("test", "claire").unwrap();
    let first = code(&proposal.secret, clock.now());
    assert!(
        factors
            .confirm_totp(&MAILBOX, &proposal.secret, &first, false, &Batch::new())
            .await
            .unwrap()
    );
    clock.set(clock.now().after(std::time::Duration::from_secs(30)));
    let second = code(&proposal.secret, clock.now());
    let (one, other) =
        tokio::join!(factors.check_totp(&MAILBOX, &second), factors.check_totp(&MAILBOX, &second));
    assert_eq!(u8::from(one.unwrap()) + u8::from(other.unwrap()), 1);
}

#[tokio::test]
async fn a_recovery_code_opens_once_and_only_its_own_mailbox() {
    let Case { factors, .. } = case();
    let old = factors.new_recovery_codes(&MAILBOX).await.unwrap();
    let codes = factors.new_recovery_codes(&MAILBOX).await.unwrap();
    assert_eq!(codes.len(), limits::RECOVERY_CODES);
    let uses = async |code: &str| factors.use_recovery_code(&MAILBOX, code).await.unwrap();
    assert!(!uses(old[0].expose()).await, "void since there are new ones");
    let other = MailboxId::from_bytes([8; 16]);
    assert!(!factors.use_recovery_code(&other, codes[0].expose()).await.unwrap());
    assert!(uses(&codes[0].expose().to_uppercase().replace('-', "")).await);
    assert!(!uses(codes[0].expose()).await, "used");
    assert!(!uses("").await && !uses(&"a".repeat(10_000)).await);
    let overview = factors.overview(&MAILBOX).await.unwrap();
    assert_eq!(overview.recovery_codes, limits::RECOVERY_CODES - 1);
    assert!(!overview.is_set_up(), "recovery codes alone ask nobody for anything");
}

#[tokio::test]
async fn a_strangers_secret_takes_the_place_of_no_other() {
    let Case { factors, clock, .. } = case();
    let own = factors.propose_totp("test", "claire").unwrap();
    let strangers = factors.propose_totp("test", "claire").unwrap();
    // Both show a right code for their own secret at the same moment; one of them is enrolled.
    let (first, other) = (code(&own.secret, clock.now()), code(&strangers.secret, clock.now()));
    assert!(
        factors.confirm_totp(&MAILBOX, &own.secret, &first, false, &Batch::new()).await.unwrap()
    );
    assert!(
        !factors
            .confirm_totp(&MAILBOX, &strangers.secret, &other, false, &Batch::new())
            .await
            .unwrap()
    );
    clock.set(clock.now().after(std::time::Duration::from_secs(30)));
    let other = code(&strangers.secret, clock.now());
    assert!(!factors.check_totp(&MAILBOX, &other).await.unwrap());
    let next = code(&own.secret, clock.now());
    assert!(factors.check_totp(&MAILBOX, &next).await.unwrap(), "the owner's still counts");
    factors.clear(&MAILBOX, &Batch::new()).await.unwrap();
    assert!(
        factors
            .confirm_totp(&MAILBOX, &strangers.secret, &other, false, &Batch::new())
            .await
            .unwrap(),
        "lost"
    );
}

#[tokio::test]
async fn an_administrators_code_counts_once_even_after_a_restart() {
    let Case { factors, clock, store } = case();
    assert!(factors.take_administrators_step("marie", 10).await.unwrap());
    assert!(!factors.take_administrators_step("marie", 10).await.unwrap(), "a replay");
    assert!(!factors.take_administrators_step("marie", 9).await.unwrap(), "an older one");
    assert!(factors.take_administrators_step("paul", 10).await.unwrap(), "somebody else");
    let again = Factors::new(Arc::clone(&store) as _, Arc::new(NoKeys), Arc::clone(&clock) as _);
    assert!(!again.take_administrators_step("marie", 10).await.unwrap(), "after a restart");
    assert!(again.take_administrators_step("marie", 11).await.unwrap());
}
