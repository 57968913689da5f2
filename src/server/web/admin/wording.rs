//! What the mailbox pages say of what was refused, and of what waits, in the page's language.
use crate::domain::life::Actor;
use crate::domain::life::NoStep;
use crate::flow::undone::Undone;
use crate::infra::directory::accounts::holders::NotHeld;
use crate::server::web::admin::mailboxes::stage_name;
use crate::server::web::desk::lives::What;
use crate::server::web::language;
use crate::server::web::texts::Lang;
use crate::server::web::texts::Texts;

/// Why nothing was done. What failed below is in the log; it is no sentence for a page.
pub(super) fn undone(why: &Undone, lang: Lang) -> String {
    let t = lang.texts();
    match why {
        Undone::Step(step) => return no_step(*step, lang),
        Undone::Holder(not) => not_held(not, t),
        Undone::Answered("done") => t.undone_done,
        Undone::Answered("refused") => t.undone_refused,
        Undone::Answered(_) => t.undone_over,
        Undone::NoSuchMailbox => t.undone_no_mailbox,
        Undone::Restless => t.undone_restless,
        Undone::TooManyPetitions => t.undone_too_many_petitions,
        Undone::OwnPetition => t.undone_own_petition,
        Undone::NoSuchPetition => t.undone_no_petition,
        Undone::AnsweredMeanwhile => t.undone_meanwhile,
        Undone::Retained => t.undone_retained,
        Undone::LetterGone => t.undone_letter_gone,
        Undone::ToItself => t.undone_to_itself,
        Undone::NoRights => t.undone_no_rights,
        Undone::EndInPast => t.undone_end_in_past,
        Undone::PatientsInbox => t.undone_patients_inbox,
        Undone::Failed(_) => t.undone_failed,
    }
    .to_owned()
}

fn no_step(step: NoStep, lang: Lang) -> String {
    let t = lang.texts();
    match step {
        NoStep::Closed => t.undone_closed.to_owned(),
        NoStep::NotFrom(stage) => filled(t.undone_not_from, &[stage_name(stage, t)]),
        NoStep::Already => t.undone_already.to_owned(),
        NoStep::NotBy(Actor::Administrator) => t.undone_not_by_hand.to_owned(),
        NoStep::NotBy(Actor::Holder) => t.undone_not_by_holder.to_owned(),
        NoStep::NotBy(Actor::Clock) => t.undone_not_by_clock.to_owned(),
        NoStep::TooEarly(until) => {
            filled(t.undone_too_early, &[&language::spoken(until, lang).short])
        }
        NoStep::TooLate(until) => {
            filled(t.undone_too_late, &[&language::spoken(until, lang).short])
        }
        NoStep::Patient => t.undone_patient.to_owned(),
    }
}

fn not_held(not: &NotHeld, t: &Texts) -> &'static str {
    match not {
        NotHeld::Directory(_) => t.undone_failed,
        NotHeld::OfAPatient => t.undone_holder_of_patient,
        NotHeld::HasOne => t.undone_holder_has_one,
        NotHeld::TooMany => t.undone_holder_too_many,
        NotHeld::Already => t.undone_holder_already,
        NotHeld::NoHolder => t.undone_holder_none,
    }
}

/// What a petition asks.
pub(super) fn what(what: &What, lang: Lang) -> String {
    let t = lang.texts();
    let held = |text: String, is_held: bool| {
        if is_held { format!("{text}{}", t.what_although_held) } else { text }
    };
    match what {
        What::Close(address) => filled(t.what_close, &[address]),
        What::Delete(address) => filled(t.what_delete, &[address]),
        What::Factors(address) => filled(t.what_factors, &[address]),
        What::Grant(reader, rights, mailbox, until) => {
            let text = filled(t.what_grant, &[reader, rights, mailbox]);
            match until {
                Some(until) => {
                    let until = language::spoken(*until, lang).short;
                    format!("{text} {}", filled(t.what_until, &[&until]))
                }
                None => format!("{text} {}", t.what_without_end),
            }
        }
        What::Bulk(lines, file) => filled(t.what_bulk, &[&language::number(*lines, lang), file]),
        What::Holder(true, holder, mailbox) => filled(t.what_holder, &[holder, mailbox]),
        What::Holder(false, holder, mailbox) => filled(t.what_no_holder, &[holder, mailbox]),
        What::ShredLetter(id, is_held) => held(filled(t.what_shred_letter, &[id]), *is_held),
        What::ShredPlace(uid, folder, mailbox, is_held) => {
            held(filled(t.what_shred_place, &[uid, folder, mailbox]), *is_held)
        }
        What::ShredMailbox(address) => filled(t.what_shred_mailbox, &[address]),
    }
}

/// A sentence with its blanks (`{}`) filled in, in order.
fn filled(sentence: &str, with: &[&str]) -> String {
    let mut with = with.iter();
    let mut parts = sentence.split("{}");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(with.next().unwrap_or(&""));
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::life::Stage;
    use crate::domain::time::Timestamp;

    const AT: Timestamp = Timestamp::from_seconds(1_795_358_400);

    /// One of each. The match is there so that a new reason does not compile without its line.
    fn all() -> Vec<Undone> {
        let of = |undone: &Undone| match undone {
            Undone::Step(step) => match step {
                NoStep::Closed
                | NoStep::NotFrom(_)
                | NoStep::Already
                | NoStep::NotBy(_)
                | NoStep::TooEarly(_)
                | NoStep::TooLate(_)
                | NoStep::Patient => {}
            },
            Undone::Holder(not) => match not {
                NotHeld::Directory(_)
                | NotHeld::OfAPatient
                | NotHeld::HasOne
                | NotHeld::TooMany
                | NotHeld::Already
                | NotHeld::NoHolder => {}
            },
            Undone::NoSuchMailbox
            | Undone::Restless
            | Undone::TooManyPetitions
            | Undone::OwnPetition
            | Undone::NoSuchPetition
            | Undone::Answered(_)
            | Undone::AnsweredMeanwhile
            | Undone::Retained
            | Undone::LetterGone
            | Undone::ToItself
            | Undone::NoRights
            | Undone::EndInPast
            | Undone::PatientsInbox
            | Undone::Failed(_) => {}
        };
        let mut all: Vec<Undone> = [
            NoStep::Closed,
            NoStep::Already,
            NoStep::NotBy(Actor::Administrator),
            NoStep::NotBy(Actor::Holder),
            NoStep::NotBy(Actor::Clock),
            NoStep::TooEarly(AT),
            NoStep::TooLate(AT),
            NoStep::Patient,
        ]
        .map(Undone::Step)
        .into();
        all.extend(Stage::ALL.map(|stage| Undone::Step(NoStep::NotFrom(stage))));
        all.extend(
            [
                NotHeld::OfAPatient,
                NotHeld::HasOne,
                NotHeld::TooMany,
                NotHeld::Already,
                NotHeld::NoHolder,
            ]
            .map(Undone::Holder),
        );
        all.extend(["done", "refused", "over"].map(Undone::Answered));
        all.extend([
            Undone::NoSuchMailbox,
            Undone::Restless,
            Undone::TooManyPetitions,
            Undone::OwnPetition,
            Undone::NoSuchPetition,
            Undone::AnsweredMeanwhile,
            Undone::Retained,
            Undone::LetterGone,
            Undone::ToItself,
            Undone::NoRights,
            Undone::EndInPast,
            Undone::PatientsInbox,
            Undone::Failed("the engine failed: os error 28".to_owned()),
        ]);
        all.iter().for_each(of);
        all
    }

    #[test]
    fn every_reason_of_a_refused_step_is_in_the_language_of_the_page() {
        let mut seen = std::collections::HashSet::new();
        for why in all() {
            let (fr, en) = (undone(&why, Lang::Fr), undone(&why, Lang::En));
            assert!(fr.ends_with('.') && en.ends_with('.'), "{why:?}: {fr} {en}");
            assert!(!fr.contains('{') && !en.contains('{'), "{why:?}: {fr} {en}");
            assert_ne!(fr, en, "{why:?}");
            assert!(!fr.contains(&why.to_string()), "{why:?}: English in {fr}");
            assert!(!en.contains("os error"), "what failed below is for the log: {en}");
            assert!(seen.insert(fr.clone()), "two reasons read alike: {fr}");
        }
    }

    #[test]
    fn every_petition_is_in_the_language_of_the_page() {
        let a = || "a@x.test".to_owned();
        let b = || "b@x.test".to_owned();
        let all = [
            What::Close(a()),
            What::Delete(a()),
            What::Factors(a()),
            What::Grant(a(), "lrs".to_owned(), b(), None),
            What::Grant(a(), "lrs".to_owned(), b(), Some(AT)),
            What::Bulk(1_200, "boites.csv".to_owned()),
            What::Holder(true, "810001234567".to_owned(), a()),
            What::Holder(false, "810001234567".to_owned(), a()),
            What::ShredLetter("0190".to_owned(), false),
            What::ShredLetter("0190".to_owned(), true),
            What::ShredPlace("7".to_owned(), "1".to_owned(), a(), true),
            What::ShredMailbox(a()),
        ];
        let mut seen = std::collections::HashSet::new();
        for one in &all {
            let (fr, en) = (what(one, Lang::Fr), what(one, Lang::En));
            assert!(fr != en && !fr.contains('{') && !en.contains('{'), "{fr} {en}");
            assert!(seen.insert(fr.clone()), "{fr}");
        }
        assert!(what(&all[5], Lang::Fr).contains("1\u{202f}200"), "numbers as in French");
    }
}
