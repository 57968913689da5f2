//! What a client says in a SASL exchange: the first octet chooses mechanism and channel, a line is
//! a response.
#![no_main]
use libfuzzer_sys::fuzz_target;
use vaguemestre::domain::login::Mechanism;
use vaguemestre::proto::sasl::Binding;
use vaguemestre::proto::sasl::Machine;
use vaguemestre::proto::sasl::Question;
use vaguemestre::proto::sasl::Step;
use vaguemestre::proto::sasl::acts_for;
use vaguemestre::proto::sasl::scram::Keys;

fuzz_target!(|input: &[u8]| {
    let Some((first, octets)) = input.split_first() else { return };
    let mechanism = Mechanism::ALL[usize::from(first % 7)];
    let exporter = (first & 0x80 == 0).then_some([7; 32]);
    let binding = Binding { exporter, is_offered: first & 0x40 == 0 };
    let mut lines = octets.split(|octet| *octet == b'\n');
    let mut step = Machine::begin(mechanism, binding).prompt();
    for _ in 0..4 {
        step = match step {
            Step::Challenge(machine, _) => match lines.next() {
                Some(line) => machine.respond(line),
                None => return,
            },
            Step::Malformed(_) => return,
            Step::Ask(question) => return asked(question, lines.next().unwrap_or_default()),
        };
    }
    panic!("{mechanism:?} has no end");
});

fn asked(question: Question, next: &[u8]) {
    match question {
        Question::Password { act_as, name, password } => {
            assert!(!password.expose().is_empty() && !password.expose().contains('\0'));
            assert!(!name.is_empty() && !name.contains('\0'));
            // Whoever is nobody else's acts for nobody else.
            if acts_for(&act_as, &name, "eva.lune@hopital.mssante.test") && !act_as.is_empty() {
                let own = act_as.eq_ignore_ascii_case("eva.lune@hopital.mssante.test");
                assert!(own || act_as == name);
            }
        }
        Question::Token { token, .. } => assert!(!token.expose().contains('\x01')),
        Question::Certificate { act_as } => assert!(!act_as.contains('\0')),
        Question::Keys(first) => {
            let name = first.name().to_owned();
            let keys = Keys::of_nobody(&[9; 32], &name);
            let (waiting, challenge) = first.challenge(keys, "a nonce of ours");
            assert!(challenge.starts_with(b"r="), "{challenge:?}");
            // Nobody has the keys of nobody.
            assert!(waiting.proof(next).is_err(), "{name:?} was proven");
        }
    }
}
