//! Scripts of the standards, and scripts of enemies.
use proptest::prelude::*;

use super::*;
use crate::domain::limits;

const LETTER: &str = "From: \"Dr Hugo ORÉADE\" <hugo.oreade@hopital.mssante.test>\r\n\
    To: claire@cabinet.mssante.test, Equipe: one@x.test, two@y.test;\r\n\
    Cc: hugo@z.test\r\nSubject: =?UTF-8?Q?Compte_rendu_=C3=A9cho?=\r\n\
    Date: Fri, 20 Nov 2026 14:36:00 +0100\r\nX-Rank: 10\r\nX-Rank: 20\r\n\
    Received: from a by b; Fri, 20 Nov 2026 23:30:00 -0500\r\n\
    Message-ID: <1@hopital.mssante.test>\r\nReferences: <0@hopital.mssante.test>\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
    TGUgcGF0aWVudCB2YSBiaWVuLg==\r\n--b\r\nContent-Type: text/html\r\n\r\n\
    <p>Tr&eacute;s <b>urgent</b></p>\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
    Subject: inside\r\n\r\nhidden text\r\n--b--\r\n";

fn folders() -> Vec<(String, Option<&'static str>)> {
    vec![
        ("INBOX".to_owned(), None),
        ("Biologie".to_owned(), None),
        ("Trash".to_owned(), Some("\\Trash")),
    ]
}

fn run_on(letter: &str, script: &str) -> Result<Verdict, Stopped> {
    let script = compile(script.as_bytes()).unwrap_or_else(|fault| panic!("{fault}: {script}"));
    let around = Circumstances {
        from: "hugo.oreade@hopital.mssante.test",
        to: "claire@cabinet.mssante.test",
        // A Sunday in Paris.
        now: Timestamp::from_seconds(1_795_388_399),
        folders: &folders(),
        redirects_max: 4,
    };
    script.run(&Letter::new(letter.as_bytes()), &around)
}

fn verdict(script: &str) -> Verdict {
    run_on(LETTER, script).unwrap()
}

/// Whether a test is true of the letter.
fn holds(requires: &str, test: &str) -> bool {
    let script = format!("require [\"fileinto\"{requires}];\nif {test} {{ fileinto \"yes\"; }}");
    match verdict(&script).filed.as_slice() {
        [Filing { folder: Some(folder), .. }] => folder.name == "yes",
        _ => false,
    }
}

fn line_of(script: &str) -> (u32, String) {
    let fault = compile(script.as_bytes()).expect_err(script);
    (fault.line, fault.why)
}

fn names(verdict: &Verdict) -> Vec<&str> {
    let name = |filing: &Filing| filing.folder.is_some();
    assert!(verdict.filed.iter().filter(|filing| !name(filing)).count() < 2);
    let filed = verdict.filed.iter();
    filed.map(|filing| filing.folder.as_ref().map_or("INBOX", |f| f.name.as_str())).collect()
}

#[test]
fn the_extended_example_of_rfc_5228_files_as_it_says() {
    let script = "#\n# Example Sieve Filter\nrequire [\"fileinto\"];\n\
        if header :is \"Sender\" \"owner-ietf-mta-filters@imc.org\"\n { fileinto \"filter\"; }\n\
        elsif address :DOMAIN :is [\"From\", \"To\"] \"hopital.mssante.test\"\n { keep; }\n\
        elsif anyof (NOT address :all :contains [\"To\", \"Cc\", \"Bcc\"] \"me@example.com\",\n\
        header :matches \"subject\" [\"*make*money*fast*\", \"*university*dipl*mas*\"])\n\
        { fileinto \"spam\"; }\nelse { fileinto \"personal\"; }\n";
    assert_eq!(names(&verdict(script)), ["INBOX"]);
    let other = LETTER.replace("hopital.mssante.test", "elsewhere.test");
    assert_eq!(names(&run_on(&other, script).unwrap()), ["spam"]);
}

#[test]
fn tests_of_the_base_see_fields_addresses_envelope_and_size() {
    for (test, expected) in [
        ("header \"subject\" \"COMPTE RENDU ÉCHO\"", false),
        ("header \"Subject\" \"compte rendu écho\"", true),
        ("header :comparator \"i;octet\" \"subject\" \"compte rendu écho\"", false),
        ("header :contains \"subject\" [\"x\", \"rendu\"]", true),
        ("header :contains \"subject\" \"\"", true),
        ("header :contains \"x-none\" \"\"", false),
        ("header :matches \"subject\" \"compte ????? *\"", true),
        ("header :matches \"subject\" \"compte\"", false),
        ("header :matches \"subject\" \"*\\\\**\"", false),
        ("exists [\"from\", \"to\"]", true),
        ("exists [\"from\", \"x-none\"]", false),
        ("address \"from\" \"HUGO.oreade@hopital.mssante.test\"", true),
        ("address :localpart \"from\" \"hugo.oreade\"", true),
        ("address :domain \"to\" \"y.test\"", true),
        ("address :domain \"to\" \"Equipe\"", false),
        ("envelope :domain \"from\" \"hopital.mssante.test\"", true),
        ("envelope :localpart \"to\" \"claire\"", true),
        ("size :over 100", true),
        ("size :under 1K", true),
        ("size :over 1M", false),
        ("allof (true, not false, anyof (false, true))", true),
        ("not anyof (true, false)", false),
    ] {
        assert_eq!(holds(", \"envelope\"", test), expected, "{test}");
    }
}

#[test]
fn a_null_reverse_path_is_an_empty_address_without_parts() {
    let script = compile(
        b"require [\"envelope\", \"fileinto\"];\nif envelope \"from\" \"\" { fileinto \"null\"; }",
    );
    let around = Circumstances {
        from: "",
        to: "a@b.test",
        now: Timestamp::from_seconds(0),
        folders: &[],
        redirects_max: 0,
    };
    let verdict = script.unwrap().run(&Letter::new(b"A: b\r\n\r\n"), &around).unwrap();
    assert_eq!(names(&verdict), ["null"]);
}

#[test]
fn numbers_are_compared_and_counted() {
    let requires = ", \"relational\", \"comparator-i;ascii-numeric\"";
    for (test, expected) in [
        ("header :value \"gt\" :comparator \"i;ascii-numeric\" \"x-rank\" \"19\"", true),
        ("header :value \"lt\" :comparator \"i;ascii-numeric\" \"x-rank\" \"009\"", false),
        ("header :comparator \"i;ascii-numeric\" \"x-rank\" \"0010\"", true),
        ("header :count \"eq\" :comparator \"i;ascii-numeric\" \"x-rank\" \"2\"", true),
        ("address :count \"ge\" :comparator \"i;ascii-numeric\" [\"to\", \"cc\"] \"4\"", true),
        // Not a number: more than any (RFC 4790 §9.1.1).
        ("header :value \"gt\" :comparator \"i;ascii-numeric\" \"subject\" \"99999999\"", true),
        ("header :value \"ge\" \"subject\" \"compte\"", true),
    ] {
        assert_eq!(holds(requires, test), expected, "{test}");
    }
}

#[test]
fn bodies_are_looked_into_decoded_by_kind_and_raw() {
    for (test, expected) in [
        ("body :contains \"va bien\"", true),
        ("body :text :contains \"Trés urgent\"", true),
        ("body :raw :contains \"va bien\"", false),
        ("body :raw :contains \"TGUgcGF0\"", true),
        ("body :content \"text\" :contains \"<b>\"", true),
        ("body :content \"text/plain\" :contains \"<b>\"", false),
        ("body :content [\"text/plain\", \"text/html\"] :contains \"<b>\"", true),
        ("body :content \"message/rfc822\" :contains \"inside\"", true),
        ("body :content \"message\" :contains \"hidden\"", false),
        ("body :contains \"hidden text\"", true),
        ("body :content \"\" :contains \"va bien\"", true),
        ("body :matches \"*patient*\"", true),
    ] {
        assert_eq!(holds(", \"body\"", test), expected, "{test}");
    }
    // RFC 5173 §6: no variables come of it.
    let script = "require [\"body\", \"variables\", \"fileinto\"];\n\
        if header :matches \"subject\" \"* rendu *\" { if body :matches \"*patient*\" {} }\n\
        fileinto \"x-${1}\";";
    assert_eq!(names(&verdict(script)), ["x-Compte"]);
}

#[test]
fn variables_are_set_modified_and_matched() {
    for (script, folder) in [
        ("set \"a\" \"Dr Hugo\"; fileinto \"${a}/${A}\";", "Dr Hugo/Dr Hugo"),
        ("set :lower :upperfirst \"a\" \"hUGO\"; fileinto \"${a}\";", "Hugo"),
        ("set :length \"a\" \"été\"; fileinto \"${a}\";", "3"),
        ("set :quotewildcard \"a\" \"Rock*\"; fileinto \"${a}\";", "Rock\\*"),
        ("set \"a\" \"${unknown}x${\"; fileinto \"${a}\";", "x${"),
        (
            "if address :matches \"from\" \"*.*@*\" { fileinto \"${3}/${2}-${1}\"; }",
            "hopital.mssante.test/oreade-hugo",
        ),
        ("if string :matches \"a-b-c\" \"*-*\" { fileinto \"${1}|${2}|${0}\"; }", "a|b-c|a-b-c"),
        (
            "if string :matches \"xay\" \"?a?\" { if string :matches \"b\" \"c*\" {} } \
             fileinto \"${1}${2}\";",
            "xy",
        ),
    ] {
        let script = format!("require [\"variables\", \"fileinto\"];\n{script}");
        assert_eq!(names(&verdict(&script)), [folder], "{script}");
    }
    assert!(holds(", \"variables\"", "string :is \"${hugo}\" \"\""));
    for bad in [
        "set :lower :upper \"a\" \"b\";",
        "set \"1a\" \"b\";",
        "set \"a.b\" \"c\";",
        "fileinto \"${name.space}\";",
        "fileinto \"${99}\";",
    ] {
        compile(format!("require [\"variables\", \"fileinto\"];\n{bad}").as_bytes()).unwrap_err();
    }
}

#[test]
fn marks_are_set_added_removed_and_asked_for() {
    let flags = |script: &str| {
        let script = format!(
            "require [\"imap4flags\", \"fileinto\", \"variables\", \"relational\"];\n{script}"
        );
        verdict(&script).filed.remove(0).flags
    };
    let set = flags("setflag \"\\\\Seen\"; addflag [\"\\\\Flagged $Work\", \"$work\"];");
    assert!(set.seen && set.flagged && !set.deleted);
    assert_eq!(set.keywords.iter().collect::<Vec<_>>(), ["$Work"]);
    let removed = flags("setflag [\"\\\\Seen\", \"$a\"]; removeflag \"\\\\SEEN\"; keep;");
    assert!(!removed.seen && removed.has_keyword("$A"));
    let tagged = flags("setflag \"\\\\Seen\"; fileinto :flags \"\\\\Deleted\" \"Biologie\";");
    assert!(tagged.deleted && !tagged.seen);
    let variable = flags("addflag \"f\" \"\\\\Draft x\"; keep :flags \"${f}\";");
    assert!(variable.draft && variable.has_keyword("x"));
    let asked = flags("setflag \"a b\"; if hasflag :contains \"A\" { addflag \"\\\\Answered\"; }");
    assert!(asked.answered);
    let bad = flags("setflag \"\\\\Recent \\\\Nonsense a(b a%b ok\";");
    assert_eq!(bad.keywords.iter().collect::<Vec<_>>(), ["ok"]);
}

#[test]
fn dates_are_seen_in_their_zone_and_in_paris() {
    for (test, expected) in [
        ("date \"date\" \"date\" \"2026-11-20\"", true),
        ("date \"date\" \"hour\" \"14\"", true),
        ("date :zone \"+0000\" \"date\" \"hour\" \"13\"", true),
        ("date :originalzone \"received\" \"time\" \"23:30:00\"", true),
        ("date \"received\" \"date\" \"2026-11-21\"", true),
        ("date :originalzone \"received\" \"zone\" \"-0500\"", true),
        ("date \"date\" \"weekday\" \"5\"", true),
        ("date \"date\" \"julian\" \"61364\"", true),
        ("date \"date\" \"iso8601\" \"2026-11-20T14:36:00+01:00\"", true),
        ("date \"date\" \"std11\" \"Fri, 20 Nov 2026 14:36:00 +0100\"", true),
        ("date \"x-none\" \"year\" \"2026\"", false),
        ("date :value \"ge\" \"date\" \"year\" \"2026\"", true),
        ("currentdate \"weekday\" [\"0\", \"6\"]", true),
        ("currentdate :zone \"+0000\" \"year\" \"2026\"", true),
        ("header :index 2 \"x-rank\" \"20\"", true),
        ("header :index 1 :last \"x-rank\" \"20\"", true),
        ("header :index 3 :contains \"x-rank\" \"\"", false),
    ] {
        assert_eq!(holds(", \"date\", \"relational\", \"index\"", test), expected, "{test}");
    }
}

#[test]
fn folders_are_asked_for_and_special_uses_found() {
    let requires = ", \"mailbox\", \"special-use\"";
    assert!(holds(requires, "mailboxexists [\"Biologie\", \"inbox\"]"));
    assert!(!holds(requires, "mailboxexists [\"Biologie\", \"Radio\"]"));
    assert!(holds(requires, "specialuse_exists \"\\\\trash\""));
    assert!(!holds(requires, "specialuse_exists \"Biologie\" \"\\\\Trash\""));
    let filed = verdict(
        "require [\"fileinto\", \"mailbox\", \"special-use\"];\n\
         fileinto :create :specialuse \"\\\\Archive\" \"Archives\";",
    );
    let folder = filed.filed[0].folder.clone().unwrap();
    assert!(folder.create && folder.special_use.as_deref() == Some("\\Archive"));
}

#[test]
fn actions_cancel_the_implicit_keep_and_happen_once() {
    let copy = "require [\"fileinto\", \"copy\"];\n";
    for (script, filed, redirects) in [
        ("", &["INBOX"][..], 0),
        ("discard;", &[], 0),
        ("stop; discard;", &["INBOX"], 0),
        ("fileinto \"a\"; fileinto \"a\"; fileinto \"b\";", &["a", "b"], 0),
        ("fileinto :copy \"a\";", &["a", "INBOX"], 0),
        ("fileinto \"inbox\"; keep;", &["inbox"], 0),
        ("redirect \"a@x.test\";", &[], 1),
        ("redirect :copy \"a@x.test\"; redirect :copy \"A@X.test\";", &["INBOX"], 1),
        ("redirect \"a@x.test\"; keep;", &["INBOX"], 1),
        ("if true { if false { stop; } else { discard; } } fileinto \"z\";", &["z"], 0),
    ] {
        let verdict = verdict(&format!("{copy}{script}"));
        assert_eq!(names(&verdict), filed, "{script}");
        assert_eq!(verdict.redirects.len(), redirects, "{script}");
    }
}

#[test]
fn characters_may_be_written_as_numbers() {
    let script = "require [\"encoded-character\", \"fileinto\"];\n\
        fileinto \"$${hex:40 41}-${unicode: 20AC}-${hex:zz}-${HEX: C3 A9}\";";
    assert_eq!(names(&verdict(script)), ["$@A-€-${hex:zz}-é"]);
    for bad in ["${unicode:200000}", "${unicode:D800}", "${hex:00}", "${hex:ff}"] {
        let script = format!("require \"encoded-character\";\nredirect \"{bad}\";");
        assert_eq!(line_of(&script).0, 2);
    }
}

#[test]
fn a_script_that_cannot_be_run_says_why_and_where() {
    for (script, line, word) in [
        ("keep;\nfileinto \"x\";", 2, "fileinto"),
        ("\n\nfrobnicate \"x\";", 3, "frobnicate"),
        ("if false {\n if nonsense { keep; }\n}", 2, "nonsense"),
        ("require \"vnd.nothing\";", 1, "vnd.nothing"),
        ("require \"include\";", 1, "include"),
        ("keep;\nrequire \"fileinto\";", 2, "require"),
        ("require [];", 1, "list"),
        ("keep", 1, ";"),
        ("keep keep;", 1, ";"),
        ("if true { keep;", 1, "}"),
        ("keep; }", 1, "}"),
        ("else { keep; }", 1, "if"),
        ("if true {} keep; elsif true {}", 1, "if"),
        ("if true {} else {} else {}", 1, "if"),
        ("if { keep; }", 1, "test"),
        ("if not { keep; }", 1, "not"),
        ("if anyof () {}", 1, "test"),
        ("if header :is :contains \"a\" \"b\" {}", 1, "match type"),
        ("if header :over \"a\" \"b\" {}", 1, ":over"),
        ("if header \"a\" {}", 1, "compare"),
        ("if header \"a\" \"b\" \"c\" {}", 1, "too many"),
        ("if header \"a b\" \"c\" {}", 1, "field"),
        ("if header \"a:\" \"c\" {}", 1, "field"),
        ("if header :comparator \"i;basic\" \"a\" \"b\" {}", 1, "i;basic"),
        ("if address \"subject\" \"b\" {}", 1, "subject"),
        ("if size 3 {}", 1, ":over"),
        ("if size :over 99999999999999999999 {}", 1, "number"),
        ("if size :over 10X {}", 1, "number"),
        ("redirect \"nobody\";", 1, "address"),
        ("redirect [\"a@b.test\"];", 1, "string"),
        ("keep \"x\";", 1, "too many"),
        ("keep { }", 1, "block"),
        ("require \"vacation\";\nvacation :days 1 :days 2 \"x\";", 2, "twice"),
        ("require \"vacation\";\nvacation :seconds 1 \"x\";", 2, "vacation-seconds"),
        ("require \"vacation\";\nvacation :from \"x\" \"y\";", 2, ":from"),
        ("require \"vacation\";\nvacation;", 2, "text"),
        ("require \"date\";\nif date \"date\" \"century\" \"20\" {}", 2, "century"),
        ("/* no end", 1, "comment"),
        ("redirect \"a", 1, "string"),
        ("redirect text:\nabc\n", 1, "dot"),
        ("keep;\n\u{1}", 2, "character"),
        ("reject \"no\";", 1, "reject"),
    ] {
        let (at, why) = line_of(script);
        assert_eq!(at, line, "{script:?}: {why}");
        assert!(why.contains(word), "{script:?}: {why}");
    }
    assert!(compile(b"keep; # \xff").is_err() && compile(b"keep;\0").is_err());
}

#[test]
fn texts_of_several_lines_lose_their_stuffing() {
    let script = "require \"vacation\";\r\nvacation :subject \"away\" text: # why\r\nLine\r\n..dot\r\n\
        .x\r\n\r\n.\r\n;\r\n";
    let vacation = verdict(script).vacation.unwrap();
    assert_eq!(vacation.reason, "Line\r\n.dot\r\n.x\r\n\r\n");
    assert_eq!(vacation.subject.as_deref(), Some("away"));
    let same = verdict(&script.replace("\r\n", "\n")).vacation.unwrap();
    assert_eq!(same.reason, vacation.reason);
}

#[test]
fn hostile_scripts_are_refused_or_stopped_and_never_hang() {
    let deep = format!("{}keep;{}", "if true {".repeat(10_000), "}".repeat(10_000));
    assert!(line_of(&deep.chars().take(49_000).collect::<String>()).1.contains("nested"));
    let nots = format!("if {} true {{ keep; }}", "not ".repeat(10_000));
    assert!(line_of(&nots).1.contains("nested"));
    let long = format!("redirect \"{}\";", "a".repeat(limits::SIEVE_SCRIPT_OCTETS_MAX));
    assert!(line_of(&long).1.contains("octets"));
    let list = format!("if header \"a\" [{}\"b\"] {{}}", "\"b\",".repeat(2_000));
    assert!(line_of(&list).1.contains("list"));
    let many: String = (0..1_000).map(|n| format!("fileinto \"{n}\";")).collect();
    let many = run_on(LETTER, &format!("require \"fileinto\";{many}"));
    assert_eq!(many.unwrap_err(), Stopped::TooManyActions);
    let many: String = (0..10).map(|n| format!("redirect \"a{n}@x.test\";")).collect();
    assert_eq!(run_on(LETTER, &many).unwrap_err(), Stopped::TooManyActions);
    let twice = "require \"vacation\"; vacation \"a\"; vacation \"b\";";
    assert_eq!(run_on(LETTER, twice).unwrap_err(), Stopped::TwoAnswers);
    // A variable that doubles itself, and a pattern that tries everything.
    let doubling = "set \"a\" \"${a}${a}x\";".repeat(1_000);
    verdict(&format!("require \"variables\";{doubling}"));
    let letter = format!("Subject: x\r\n\r\n{}", "a".repeat(2_000_000));
    let tries = format!("if body :raw :matches \"*{}b\" {{ stop; }}\n", "a".repeat(60)).repeat(400);
    let stopped = run_on(&letter, &format!("require \"body\";\n{tries}"));
    assert_eq!(stopped.unwrap_err(), Stopped::TooLong);
    let exponential = format!("if header :matches \"x\" \"{}b\" {{ stop; }}", "*a".repeat(100));
    let letter = format!("X: {}\r\n\r\n", "a".repeat(900));
    run_on(&letter, &exponential).unwrap();
}

#[test]
fn only_people_who_wrote_to_us_are_answered() {
    let own = ["claire@cabinet.mssante.test".to_owned()];
    let may =
        |from: &str, letter: &str| may_be_answered(&Letter::new(letter.as_bytes()), from, &own);
    let from = "hugo.oreade@hopital.mssante.test";
    assert!(may(from, LETTER));
    for more in [
        "Auto-Submitted: auto-generated",
        "Auto-Submitted: auto-replied (vacation)",
        "List-Id: <x.test>",
        "List-Unsubscribe: <mailto:x@x.test>",
        "Precedence: bulk",
        "Precedence: list",
        "Precedence: Junk",
        "X-Auto-Response-Suppress: DR, OOF",
    ] {
        assert!(!may(from, &format!("{more}\r\n{LETTER}")), "{more}");
    }
    assert!(may(from, &format!("Auto-Submitted: no\r\nPrecedence: normal\r\n{LETTER}")));
    for nobody in ["", "claire@cabinet.mssante.test", "MAILER-DAEMON@x.test", "owner-l@x.test"] {
        assert!(!may(nobody, LETTER), "{nobody}");
    }
    assert!(!may("l-request@x.test", LETTER));
    // Somebody else was written to; we got it by a list or as a blind copy.
    assert!(!may(from, &LETTER.replace("claire@cabinet", "autre@cabinet")));
}

#[test]
fn an_answer_is_one_letter_whatever_its_texts_say() {
    let (from, to) = ("claire@cabinet.mssante.test", "hugo@hopital.mssante.test");
    let (from, to) = (Address::parse(from).unwrap(), Address::parse(to).unwrap());
    let mut answer = Answer {
        from: &from,
        name: Some("Dr \"Claire\"\r\nBcc: x@y.test"),
        to: &to,
        subject: "away\r\nBcc: evil@y.test\r\n\r\nbody",
        text: "Absente\njusqu'à lundi.",
        mime: false,
        references: &["<0@x.test>".to_owned(), "<1@x.test>".to_owned()],
        message_id: "2@x.test",
        now: Timestamp::from_seconds(1_795_181_760),
    };
    let written = String::from_utf8(write_answer(&answer)).unwrap();
    let (header, body) = written.split_once("\r\n\r\n").unwrap();
    assert!(!header.to_ascii_lowercase().contains("\r\nbcc"), "{header}");
    assert!(header.contains("Auto-Submitted: auto-replied\r\n"), "{header}");
    assert!(header.contains("In-Reply-To: <1@x.test>\r\nReferences: <0@x.test>\r\n <1@x.test>"));
    assert_eq!(body.trim_end(), "QWJzZW50ZQ0KanVzcXUnw6AgbHVuZGku");
    answer.mime = true;
    answer.text = "Content-Type: text/html\nBcc: evil@y.test\n\n<p>Away</p>\n";
    let written = String::from_utf8(write_answer(&answer)).unwrap();
    assert!(written.ends_with("Content-Type: text/html\r\n\r\n<p>Away</p>\r\n"), "{written}");
    assert!(!written.contains("\r\nBcc: evil@y.test\r\n\r\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_octets_are_a_script_or_a_fault(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = compile(&octets);
    }

    #[test]
    fn any_row_of_words_is_a_script_or_a_fault_and_runs(
        words in prop::collection::vec(prop::sample::select(vec![
            "if", "else", "elsif", "true", "not", "anyof", "(", ")", ",", "{", "}", ";", "keep",
            "discard", "fileinto", "\"a\"", "[\"a\", \"b\"]", ":is", ":matches", ":contains",
            "header", "address", "size", ":over", "10", "stop", "redirect", "set", "string",
            "\"${1}\"", "vacation", ":days", "setflag", "body", "date", "\"year\"", "exists",
        ]), 0..40),
    ) {
        let script = format!(
            "require [\"fileinto\", \"variables\", \"vacation\", \"imap4flags\", \"body\", \
             \"date\"];\n{}",
            words.join(" "),
        );
        if let Ok(script) = compile(script.as_bytes()) {
            let around = Circumstances {
                from: "a@x.test",
                to: "b@x.test",
                now: Timestamp::from_seconds(1_795_388_399),
                folders: &folders(),
                redirects_max: 4,
            };
            let _ = script.run(&Letter::new(LETTER.as_bytes()), &around);
        }
    }

    #[test]
    fn a_pattern_of_wildcards_matches_as_a_slow_reading_says(
        value in "[ab]{0,8}",
        pattern in "[ab*?]{0,6}",
    ) {
        fn slow(value: &[u8], pattern: &[u8]) -> bool {
            match pattern.split_first() {
                None => value.is_empty(),
                Some((b'*', rest)) => (0..=value.len()).any(|taken| slow(&value[taken..], rest)),
                Some((b'?', rest)) => !value.is_empty() && slow(&value[1..], rest),
                Some((c, rest)) => value.first() == Some(c) && slow(&value[1..], rest),
            }
        }
        let mut budget = matching::Budget::new();
        let (comparator, kind) = (program::Comparator::Octet, program::MatchKind::Matches);
        let found = matching::fits(&value, &pattern, comparator, kind, &mut budget).unwrap();
        prop_assert_eq!(found.is_some(), slow(value.as_bytes(), pattern.as_bytes()));
        if let Some(matched) = found {
            prop_assert_eq!(&matched[0], &value);
        }
    }
}
