"""imaplib of Python against a relay: each of its verbs that the relay offers."""
import imaplib
import os
import re
import ssl
import threading
import time

import letters

HOST, PORT = "127.0.0.1", int(os.environ["RELAY_IMAPS"])
USER, PASSWORD = os.environ["RELAY_USER"], os.environ["RELAY_PASSWORD"]


def connect():
    context = ssl.create_default_context(cafile=os.environ["RELAY_CA"])
    return imaplib.IMAP4_SSL(HOST, PORT, ssl_context=context)


def ok(answer):
    kind, rest = answer
    assert kind == "OK", answer
    return rest


box = connect()
try:
    box.login(USER, "wrong")
    raise AssertionError("a wrong password was taken")
except imaplib.IMAP4.error as error:
    assert "AUTHENTICATIONFAILED" in str(error), error
ok(box.authenticate("PLAIN", lambda _: f"\0{USER}\0{PASSWORD}".encode()))
ok(box.noop())
assert b"IMAP4REV1" in ok(box.capability())[0].upper()

# Folders, with the names that imaplib leaves to its user: modified UTF-7 and quotes.
for name in ('"Dossiers"', '"Dossiers/&AMk-t&AOk-"', '"a b \\"c\\""'):
    ok(box.create(name))
    ok(box.subscribe(name))
listed = ok(box.list())
assert any(b"&AMk-t&AOk-" in line for line in listed), listed
ok(box.rename('"Dossiers/&AMk-t&AOk-"', '"Dossiers/Hiver"'))
assert any(b"Dossiers/Hiver" in line for line in ok(box.list('""', '"Dossiers/%"')))
assert any(b"Dossiers" in line for line in ok(box.lsub()))
ok(box.unsubscribe('"Dossiers"'))
ok(box.delete('"a b \\"c\\""'))
assert box.delete('"Never there"')[0] == "NO"
assert box.create("INBOX")[0] == "NO"

# Letters.
date = time.localtime(1_700_000_000)
for number in range(1, 6):
    answer = ok(box.append("INBOX", None, date, letters.letter(number)))
    assert re.search(rb"APPENDUID \d+ %d" % number, answer[0]), answer
assert box.append("Nowhere", None, None, letters.letter(9))[0] == "NO"
assert ok(box.select("INBOX")) == [b"5"]
assert box.response("UIDVALIDITY")[1][0].isdigit()
assert ok(box.search(None, "ALL")) == [b"1 2 3 4 5"]
assert ok(box.search(None, "FROM", '"colleague3@"')) == [b"3"]
assert ok(box.search("UTF-8", "SUBJECT", '"Lettre 2"')) == [b"2"]
box.literal = "Éloïse".encode()
assert ok(box.search("UTF-8", "BODY")) == [b"1 2 3 4 5"]
fetched = ok(box.fetch("2", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"))
line = fetched[0] if isinstance(fetched[0], bytes) else fetched[0][0]
assert imaplib.Internaldate2tuple(line)[:6] == date[:6], line
assert imaplib.ParseFlags(line) == (), line
for item in ("RFC822", "BODY.PEEK[]", "BODY.PEEK[1]", "BODY.PEEK[TEXT]<5.30>", "RFC822.HEADER"):
    assert len(ok(box.fetch("1", f"({item})"))[0][1]) > 5, item
assert ok(box.fetch("1", "(RFC822)"))[0][1] == letters.letter(1)
assert b"\\Seen" in ok(box.fetch("1", "(FLAGS)"))[0]
ok(box.store("1:2", "+FLAGS", "(\\Flagged $Suivi)"))
assert ok(box.search(None, "FLAGGED", "KEYWORD", "$Suivi")) == [b"1 2"]
ok(box.store("2", "-FLAGS.SILENT", "(\\Flagged)"))
assert ok(box.uid("SEARCH", "FLAGGED")) == [b"1"]
ok(box.copy("1:3", '"Dossiers/Hiver"'))
ok(box.uid("COPY", "4", "Sent"))
ok(box.uid("MOVE", "5", "Trash"))
assert ok(box.search(None, "ALL")) == [b"1 2 3 4"]
ok(box.store("4", "+FLAGS", "\\Deleted"))
assert ok(box.expunge())[-1] == b"4"
ok(box.check())
assert b"MESSAGES 3" in ok(box.status('"Dossiers/Hiver"', "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)"))[0]
if "UNSELECT" in box.capabilities:
    ok(box.unselect())
    ok(box.select("INBOX", readonly=True))
    assert box.store("1", "+FLAGS", "\\Seen")[0] == "NO"
ok(box.close())

# What extensions add.
assert "ENABLE" in box.capabilities
if "UTF8=ACCEPT" in box.capabilities:
    other = connect()
    other.login(USER, PASSWORD)
    ok(other.enable("UTF8=ACCEPT"))
    ok(other.create('"Été à la mer"'))
    assert any("Été à la mer".encode() in line for line in ok(other.list()))
    ok(other.append('"Été à la mer"', None, None, letters.letter(7)))
    ok(other.select('"Été à la mer"'))
    assert ok(other.search(None, "SUBJECT", '"Éloïse"')) in ([b"1"], [b""])
    other.logout()
ok(box.select("INBOX"))
if "SORT" in box.capabilities:
    assert ok(box.sort("(REVERSE SUBJECT)", "UTF-8", "ALL")) == [b"3 2 1"]
    assert ok(box.uid("SORT", "(ARRIVAL)", "UTF-8", "ALL")) == [b"1 2 3"]
if "THREAD=REFERENCES" in box.capabilities:
    assert b"(" in ok(box.thread("REFERENCES", "UTF-8", "ALL"))[0]
if "QUOTA" in box.capabilities:
    ok(box.getquotaroot("INBOX"))
if "ACL" in box.capabilities:
    assert b"INBOX" in ok(box.myrights("INBOX"))[0]
    ok(box.getacl("INBOX"))
ok(box.namespace())
ok(box.xatom("ID", "NIL"))

# A letter that comes while the session says NOOP now and then.
letters.send()
for _ in range(100):
    box.noop()
    if box.response("EXISTS")[1] not in ([None], None):
        break
    time.sleep(0.1)
else:
    raise AssertionError("the letter was never told")
kind, _ = box.logout()
assert kind == "BYE", kind
print("all passed")
