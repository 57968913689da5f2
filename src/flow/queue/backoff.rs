//! When to try again: a pure function of the schedule, and chance as an argument.
use std::time::Duration;

use crate::flow::office::Office;

/// When to try again after `attempts` vain attempts; a pure function. `None`: give up.
pub fn next_attempt(
    retry: &[Duration],
    give_up: Duration,
    attempts: u32,
    age: Duration,
) -> Option<Duration> {
    next_attempt_with(retry, give_up, attempts, age, (0, 0))
}

/// Like [`next_attempt`], with a wait that is longer or shorter by up to so many percent, as the
/// random number says: letters that failed together must not come back together.
pub fn next_attempt_with(
    retry: &[Duration],
    give_up: Duration,
    attempts: u32,
    age: Duration,
    (percent, random): (u64, u64),
) -> Option<Duration> {
    if age >= give_up {
        return None;
    }
    let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let wait = retry.get(place).or(retry.last()).copied().unwrap_or(Duration::from_secs(900));
    // Otherwise a letter would wait past its end before anybody is told.
    let left = give_up.saturating_sub(age).max(Duration::from_secs(1));
    Some(jittered(wait, percent, random).min(left))
}

/// What [`next_attempt_with`] says with the configuration and the dice of the office.
pub fn again(office: &Office, attempts: u32, age: Duration) -> Option<Duration> {
    again_by(office, attempts, age, office.lanes.chance())
}

/// [`again`] with a random number that was drawn before: those who share it come back together.
pub fn again_by(office: &Office, attempts: u32, age: Duration, chance: u64) -> Option<Duration> {
    let queue = &office.config.queue;
    let chance = (queue.jitter_percent, chance);
    next_attempt_with(&queue.retry, queue.give_up, attempts, age, chance)
}

/// `wait` within `percent` of itself on both sides, never less than a tenth of it.
fn jittered(wait: Duration, percent: u64, random: u64) -> Duration {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 400);
    let reach = wait.saturating_mul(percent.min(90)) / 100;
    let span = reach.saturating_mul(2).saturating_add(1);
    Duration::from_millis((wait - reach).saturating_add(random % span))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_schedule_waits_longer_and_longer_then_gives_up() {
        let retry = [MINUTE, 5 * MINUTE, 30 * MINUTE];
        let at = |attempts, age| next_attempt(&retry, 100 * MINUTE, attempts, age);
        assert_eq!(at(1, Duration::ZERO), Some(MINUTE));
        assert_eq!(at(2, MINUTE), Some(5 * MINUTE));
        assert_eq!(at(9, 60 * MINUTE), Some(30 * MINUTE));
        assert_eq!(at(10, 90 * MINUTE), Some(10 * MINUTE));
        assert_eq!(at(11, 100 * MINUTE), None);
    }

    #[test]
    fn a_burst_does_not_come_back_as_one_and_nobody_waits_past_the_end() {
        let at = |random| {
            next_attempt_with(&[MINUTE], 10 * MINUTE, 1, Duration::ZERO, (20, random)).unwrap()
        };
        let waits: std::collections::BTreeSet<Duration> =
            (0..1_000).map(|turn| at(turn * 7_919)).collect();
        assert!(waits.len() > 500, "{} different waits", waits.len());
        assert!(*waits.first().unwrap() >= Duration::from_secs(48));
        assert!(*waits.last().unwrap() <= Duration::from_secs(72));
        for random in [0, 1, 5_000, u64::MAX] {
            let last = next_attempt_with(&[MINUTE], MINUTE, 1, MINUTE / 2, (90, random)).unwrap();
            assert!(last <= MINUTE / 2, "{last:?}");
            let odd = next_attempt_with(&[], MINUTE, 9, Duration::ZERO, (u64::MAX, random));
            assert!(odd.unwrap() <= MINUTE);
        }
    }
}
