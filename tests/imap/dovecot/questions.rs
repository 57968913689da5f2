//! What both servers are asked.
use crate::support::imap::Client;

/// Items of FETCH for a letter with these sections.
pub(super) fn items(sections: &[&str]) -> Vec<String> {
    let mut items: Vec<String> = [
        "UID",
        "INTERNALDATE",
        "RFC822.SIZE",
        "ENVELOPE",
        "BODY",
        "BODYSTRUCTURE",
        "BODY.PEEK[]",
        "BODY.PEEK[]<3.20>",
        "BODY.PEEK[]<40.100000>",
        "BODY.PEEK[]<100000.5>",
        "BODY.PEEK[HEADER]",
        "BODY.PEEK[TEXT]",
        "BODY.PEEK[TEXT]<2.5>",
        "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)]",
        "BODY.PEEK[HEADER.FIELDS (X-NONE)]",
        "BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT DATE)]",
        "BODY.PEEK[HEADER.FIELDS (SUBJECT)]<4.9>",
        "BODY.PEEK[1]",
        "BODY.PEEK[1]<1.3>",
        "BODY.PEEK[1.MIME]",
        "BODY.PEEK[2]",
        "BODY.PEEK[99]",
    ]
    .map(str::to_owned)
    .into();
    items.extend(sections.iter().map(|section| format!("BODY.PEEK[{section}]")));
    items
}

/// Folders of a tree, some of them subscribed.
pub(super) async fn prepare(client: &mut Client) -> anyhow::Result<()> {
    for command in [
        "CREATE arbre",
        "CREATE arbre/a",
        "CREATE arbre/b",
        "CREATE arbre/b/c",
        "SUBSCRIBE arbre/a",
        "SUBSCRIBE arbre/b/c",
    ] {
        client.ok(command).await?;
    }
    Ok(())
}

/// Commands of a selected mailbox that change nothing.
pub(super) fn commands() -> Vec<String> {
    let searches = [
        "ALL",
        "ANSWERED",
        "DELETED",
        "DRAFT",
        "FLAGGED",
        "SEEN",
        "UNANSWERED",
        "UNDELETED",
        "UNDRAFT",
        "UNFLAGGED",
        "UNSEEN",
        "KEYWORD $Done",
        "KEYWORD $done",
        "UNKEYWORD $Done",
        "KEYWORD $Never",
        "1",
        "2:4",
        "*",
        "*:3",
        "99",
        "3,1,99",
        "NOT 1:3",
        "UID 2:3",
        "UID 99",
        "UID 99:*",
        "OR 1 2",
        "OR SEEN (FLAGGED NOT 1)",
        "(1:5 (NOT 3))",
        "NOT (SEEN)",
        "LARGER 400",
        "SMALLER 200",
        "LARGER 0",
        "SMALLER 1",
        "BEFORE 3-Feb-2026",
        "ON 3-Feb-2026",
        "SINCE 3-Feb-2026",
        "SENTBEFORE 3-Mar-2026",
        "SENTON 2-Mar-2026",
        "SENTSINCE 3-Mar-2026",
        "FROM claire",
        "FROM CLAIRE",
        "FROM \"dupont\"",
        "FROM \"claire@hopital\"",
        "TO \"undisclosed\"",
        "TO bernard",
        "CC équipe",
        "CC \"secret\"",
        "BCC cache",
        "SUBJECT bilan",
        "SUBJECT BILAN",
        "SUBJECT \"résultat d'analyse\"",
        "SUBJECT \"RÉSULTAT\"",
        "SUBJECT \"\"",
        "HEADER X-Marker \"\"",
        "HEADER x-marker deux",
        "HEADER X-None \"\"",
        "HEADER Message-ID \"<fil-1@\"",
        "HEADER References \"fil-1\"",
        "HEADER Subject bilan",
        "BODY zanzibar",
        "BODY \"café crème\"",
        "BODY \"CAFÉ\"",
        "BODY \"dans la pièce\"",
        "BODY multipart",
        "BODY \"deux mots\"",
        "TEXT zanzibar",
        "TEXT claire",
        "TEXT \"résultat\"",
        "TEXT \"inner subject\"",
        "NOT TEXT claire",
        "UNSEEN SUBJECT bilan FROM claire",
        "OR TEXT zanzibar SUBJECT bilan",
    ];
    let mut commands: Vec<String> = Vec::new();
    for search in searches {
        commands.push(match search.is_ascii() {
            true => format!("SEARCH {search}"),
            false => in_utf8(search),
        });
    }
    for command in [
        "UID SEARCH 2:4",
        "UID SEARCH NOT SEEN",
        "SEARCH RETURN () ALL",
        "SEARCH RETURN (MIN) SEEN",
        "SEARCH RETURN (MAX) SEEN",
        "SEARCH RETURN (COUNT) UNSEEN",
        "SEARCH RETURN (MIN MAX COUNT ALL) UNSEEN",
        "SEARCH RETURN (MIN MAX COUNT ALL) KEYWORD $Never",
        "UID SEARCH RETURN (MIN MAX) ALL",
        "UID SEARCH RETURN (ALL) 3:5",
        "SEARCH RETURN (SAVE) 2:4",
        "SEARCH $",
        "UID SEARCH NOT $",
        "SEARCH RETURN (SAVE COUNT) $ UNSEEN",
        "SEARCH CHARSET X-NOBODY TEXT a",
        "SEARCH CHARSET US-ASCII SUBJECT bilan",
        "SEARCH SENTON 31-Foo-2026",
        "SEARCH",
        "SEARCH NOT",
        "SEARCH (1",
        "SEARCH 0",
        "SORT (ARRIVAL) UTF-8 ALL",
        "SORT (REVERSE ARRIVAL) UTF-8 ALL",
        "SORT (DATE) UTF-8 ALL",
        "SORT (REVERSE DATE) UTF-8 ALL",
        "SORT (SUBJECT) UTF-8 ALL",
        "SORT (SUBJECT DATE) UTF-8 ALL",
        "SORT (FROM) UTF-8 ALL",
        "SORT (TO) UTF-8 ALL",
        "SORT (CC) UTF-8 ALL",
        "SORT (SIZE) UTF-8 ALL",
        "SORT (REVERSE SIZE) US-ASCII ALL",
        "SORT (DISPLAYFROM) UTF-8 ALL",
        "SORT (DISPLAYTO) UTF-8 ALL",
        "UID SORT (DATE) UTF-8 UNSEEN",
        "SORT (DATE) UTF-8 SUBJECT bilan",
        "SORT RETURN (COUNT MIN MAX) (DATE) UTF-8 ALL",
        "SORT () UTF-8 ALL",
        "SORT (NONSENSE) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "THREAD ORDEREDSUBJECT UTF-8 ALL",
        "UID THREAD REFERENCES UTF-8 UNSEEN",
        "THREAD REFERENCES UTF-8 SUBJECT bilan",
        "THREAD NONSENSE UTF-8 ALL",
        "FETCH 99 FLAGS",
        "FETCH 1:99 FLAGS",
        "FETCH 0 FLAGS",
        "FETCH 1 NONSENSE",
        "FETCH 1 BODY.PEEK[]<0.0>",
        "FETCH 1 BODY.PEEK[]<0>",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[HEADER.FIELDS ()]",
        "FETCH 1 (FLAGS",
        "UID FETCH 99 FLAGS",
        "UID FETCH 99:* (UID)",
        "STORE 1 +FLAGS (\\Nonsense)",
        "STORE 99 +FLAGS (\\Seen)",
        "UID STORE 99 +FLAGS (\\Seen)",
        "LIST \"\" arbre",
        "LIST \"\" arbre/%",
        "LIST \"\" arbre/*",
        "LIST arbre/ %",
        "LIST \"\" arbre*",
        "LIST \"\" \"\"",
        "LIST \"\" arbre/none",
        "LIST (SUBSCRIBED) \"\" arbre/*",
        "LIST (SUBSCRIBED) \"\" arbre/%",
        "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" arbre/%",
        "LIST (SUBSCRIBED) \"\" arbre/* RETURN (CHILDREN)",
        "LIST \"\" arbre/% RETURN (CHILDREN SUBSCRIBED)",
        "LIST \"\" (arbre arbre/a)",
        "LIST \"\" arbre/a RETURN (STATUS (MESSAGES UNSEEN))",
        "LIST (RECURSIVEMATCH) \"\" *",
        "LIST (NONSENSE) \"\" *",
        "LIST \"\" * RETURN (NONSENSE)",
        "LSUB \"\" arbre/*",
        "LSUB \"\" arbre/%",
        "LSUB \"\" arbre*",
        "CREATE arbre",
        "DELETE arbre/none",
        "RENAME arbre/a arbre/b",
        "RENAME arbre/none arbre/other",
        "STATUS INBOX (MESSAGES UNSEEN)",
        "STATUS INBOX (NONSENSE)",
        "STATUS nowhere (MESSAGES)",
        "EXAMINE nowhere",
        "NONSENSE",
        "UID NONSENSE 1",
        "NOOP extra",
    ] {
        commands.push(command.to_owned());
    }
    // The failed EXAMINE closed the mailbox (RFC 3501 §6.3.1).
    let closed = commands.iter().position(|command| command == "EXAMINE nowhere").unwrap() + 1;
    commands.insert(closed, "FETCH 1 FLAGS".to_owned());
    commands
}

/// With its one text that is not ASCII as a literal.
fn in_utf8(search: &str) -> String {
    let (key, text) = search.split_once(' ').unwrap();
    let text = text.trim_matches('"');
    format!("SEARCH CHARSET UTF-8 {key} {{{}+}}\r\n{text}", text.len())
}
