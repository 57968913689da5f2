//! Twenty clients doing random things at once, against a model that says what must come of it.
//!
//! At checkpoints all rest. Then the model is compared with the whole relay, and each session's
//! view with the folder that it has open; half of the time the relay is killed there and must
//! come back with the same state. `VAGUEMESTRE_STRESS_SECONDS` sets how long (10 without it);
//! a minute is what we run before a release.
mod actor;
mod model;
mod view;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;

use crate::clients::COLLEAGUE;
use crate::clients::USER;
use crate::support::imap::Value;
use crate::support::letters;
use crate::support::letters::Dice;
use crate::support::serving::Serving;
use actor::Actor;
use actor::SHARED;
use actor::Stage;
use model::Folder;
use model::FolderTruth;
use model::MessageTruth;
use model::Model;
use model::Truth;

const CLIENTS: usize = 20;
const DEFAULT_SECONDS: u64 = 10;
/// Between two checkpoints.
const PHASE: Duration = Duration::from_millis(2_500);

#[tokio::test(flavor = "multi_thread")]
async fn twenty_clients_see_one_truth_and_lose_nothing() {
    let seconds = std::env::var("VAGUEMESTRE_STRESS_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_SECONDS);
    run(seconds, None).await;
}

/// `scripts/clients/soak` runs it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: scripts/clients/soak"]
async fn a_soak_stays_under_its_memory_ceiling() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let minutes = number("VAGUEMESTRE_SOAK_MINUTES", 10);
    let growth = number("VAGUEMESTRE_SOAK_GROWTH_KIB", 196_608);
    run(minutes * 60, Some(growth)).await;
}

/// The memory of a relay that soaks.
struct Soaked {
    /// How much more it may take than it had when it was warm.
    growth_kibibytes: u64,
    /// Phases until it is warm.
    warming: u128,
    /// The most that it took until then, and since.
    warm: u64,
    most: u64,
}

impl Soaked {
    /// A tenth of the run warms up, and a minute at least.
    fn new(growth_kibibytes: u64, phases: u128) -> Self {
        let minute = Duration::from_secs(60).as_millis() / PHASE.as_millis();
        Self { growth_kibibytes, warming: (phases / 10).max(minute), warm: 0, most: 0 }
    }

    fn look(&mut self, pid: u32, phase: u128) {
        let now = resident_kibibytes(pid);
        if phase <= self.warming {
            self.warm = self.warm.max(now);
        }
        self.most = self.most.max(now);
        if phase.is_multiple_of(12) {
            println!("phase {phase}: {now} KiB, warm {} KiB", self.warm);
        }
        let ceiling = self.warm + self.growth_kibibytes;
        assert!(
            phase <= self.warming || now <= ceiling,
            "{now} KiB in phase {phase}; it had {} when it was warm, and may take {ceiling}",
            self.warm
        );
    }
}

/// Runs for some seconds; with a ceiling, the relay may not grow by more than that once it is warm.
async fn run(seconds: u64, growth_kibibytes: Option<u64>) {
    let mut dice = Dice(letters::seed());
    let space = super::space();
    let mut relay = super::relay(&space);
    let stage = Arc::new(Stage {
        model: Mutex::new(Model::default()),
        stop: AtomicBool::new(false),
        imaps: relay.door("imaps"),
        submissions: relay.door("submissions"),
        tls: relay.tls(),
        users: [USER, COLLEAGUE],
    });
    prepare(&relay, &stage).await.unwrap();
    let mut actors: Vec<Actor> =
        (0..CLIENTS).map(|number| Actor::new(number, &stage, Dice(dice.below(u64::MAX)))).collect();
    let phases = (Duration::from_secs(seconds).as_millis() / PHASE.as_millis()).max(1);
    let mut soaked = growth_kibibytes.map(|growth| Soaked::new(growth, phases));
    for phase in 1..=phases {
        actors = act(&stage, actors).await;
        if let Some(soaked) = &mut soaked {
            soaked.look(relay.pid(), phase);
        }
        let settling = actors.into_iter().map(|actor| tokio::spawn(actor.settle()));
        actors = all(settling.collect()).await;
        let found = truth(&relay).await.unwrap();
        compare(&stage, &actors, &found, phase);
        // A relay that soaks lives on: what grows without bound would begin anew with it.
        if soaked.is_none() && dice.below(2) == 0 {
            relay.kill();
            relay.begin();
            let again = truth(&relay).await.unwrap();
            assert!(found == again, "phase {phase}: a restart changed what is there");
            actors.iter_mut().for_each(Actor::lost);
        }
    }
    let done = std::mem::take(&mut stage.model.lock().unwrap().done);
    if let Some(Soaked { warm, most, .. }) = soaked {
        println!("warm {warm} KiB, at most {most} KiB");
    }
    println!("{phases} checkpoints; {done:?}");
}

async fn act(stage: &Arc<Stage>, actors: Vec<Actor>) -> Vec<Actor> {
    stage.stop.store(false, Ordering::Relaxed);
    let acting: Vec<_> = actors.into_iter().map(|actor| tokio::spawn(actor.act())).collect();
    // A client that found something wrong ends the phase for all.
    let mut waited = Duration::ZERO;
    while waited < PHASE && !acting.iter().any(tokio::task::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        waited += Duration::from_millis(50);
    }
    stage.stop.store(true, Ordering::Relaxed);
    all(acting).await
}

async fn all(tasks: Vec<tokio::task::JoinHandle<anyhow::Result<Actor>>>) -> Vec<Actor> {
    let mut actors = Vec::new();
    let mut wrong = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(actor) => actors.push(actor),
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    actors
}

fn compare(stage: &Stage, actors: &[Actor], truth: &Truth, phase: u128) {
    let wrong = stage.model.lock().unwrap().check(truth);
    assert!(wrong.is_empty(), "phase {phase}:\n{}", wrong.join("\n"));
    for actor in actors {
        let Some((mailbox, view)) = actor.selected() else { continue };
        let folder = truth
            .folders
            .iter()
            .find(|((of, _), folder)| *of == mailbox && folder.uid_validity == view.uid_validity);
        let Some((_, folder)) = folder else {
            panic!("phase {phase}: {} is gone, and still selected\n{}", view.name, actor.history());
        };
        if let Some(difference) = view.differs(folder) {
            panic!("phase {phase}, view of {}: {difference}\n{}", view.name, actor.history());
        }
    }
}

async fn prepare(relay: &Serving<'_>, stage: &Stage) -> anyhow::Result<()> {
    for (mailbox, user) in stage.users.iter().enumerate() {
        let mut client = super::client(relay, user).await?;
        for name in SHARED {
            let answer = client.say(&format!("CREATE \"{name}\"")).await?;
            drop(answer);
        }
        let listed = client.ok("LIST \"\" *").await?;
        let names = listed.untagged.iter().filter_map(|response| response.named("LIST"));
        for name in names.filter_map(|words| words.last()?.text()) {
            let answer = client.ok(&format!("STATUS \"{name}\" (UIDVALIDITY)")).await?;
            let validity = actor::status(&answer, "UIDVALIDITY").context("no UIDVALIDITY")?;
            let folder = Folder { name, keeper: None, is_gone: false };
            let key = (mailbox, u32::try_from(validity)?);
            stage.model.lock().unwrap().folders.insert(key, folder);
        }
    }
    Ok(())
}

/// The whole state, read by sessions that see it for the first time.
async fn truth(relay: &Serving<'_>) -> anyhow::Result<Truth> {
    let mut truth = Truth::default();
    for (mailbox, user) in [USER, COLLEAGUE].into_iter().enumerate() {
        let mut client = super::client(relay, user).await?;
        let listed = client.ok("LIST \"\" *").await?;
        let names = listed.untagged.iter().filter_map(|response| response.named("LIST"));
        // A name that is there only for its children cannot be opened.
        let real = names.filter(|words| {
            let attributes = words[0].list().iter().filter_map(Value::text);
            !attributes.into_iter().any(|attribute| {
                attribute.eq_ignore_ascii_case("\\Noselect")
                    || attribute.eq_ignore_ascii_case("\\NonExistent")
            })
        });
        for name in real.filter_map(|words| words.last()?.text()) {
            let answer = client.ok(&format!("EXAMINE \"{name}\"")).await?;
            let number = |code: &str| answer.code_of(code).and_then(|text| text.parse().ok());
            let mut folder = FolderTruth {
                uid_validity: number("UIDVALIDITY").context("no UIDVALIDITY")?,
                uid_next: number("UIDNEXT").context("no UIDNEXT")?,
                ..FolderTruth::default()
            };
            let highest = answer.code_of("HIGHESTMODSEQ").and_then(|text| text.parse().ok());
            folder.highest_modseq = highest.unwrap_or(0);
            let fetched = client.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])").await?;
            for response in &fetched.untagged {
                let Some(Value::Text(octets)) = response.item("BODY[]") else { continue };
                let uid = response.item("UID").and_then(Value::number).context("no UID")?;
                let flags = response.item("FLAGS").context("no FLAGS")?.list();
                let message = MessageTruth {
                    flags: flags.iter().filter_map(Value::text).collect(),
                    token: token(octets).with_context(|| format!("no token in {name} {uid}"))?,
                    digest: digest(octets),
                };
                folder.messages.insert(u32::try_from(uid)?, message);
            }
            truth.folders.insert((mailbox, name), folder);
        }
    }
    Ok(truth)
}

/// What the letter's own field says.
fn token(octets: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(octets);
    let field = text.lines().find_map(|line| line.strip_prefix("X-Token: "))?;
    Some(field.trim().to_owned())
}

/// A digest of the letter from its own first field on: the relay puts fields of its own before.
fn digest(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    let start = text.find("X-Token: ").unwrap_or(0);
    super::digest(&text[start..])
}

fn resident_kibibytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
