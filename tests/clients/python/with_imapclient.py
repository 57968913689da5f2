"""IMAPClient against a relay: its whole API, as far as the relay offers the extensions."""
import datetime
import os
import ssl
import threading

import letters
from imapclient import IMAPClient, exceptions
from imapclient import DELETED, FLAGGED, SEEN

PORT = int(os.environ["RELAY_IMAPS"])
USER, PASSWORD = os.environ["RELAY_USER"], os.environ["RELAY_PASSWORD"]


def connect():
    context = ssl.create_default_context(cafile=os.environ["RELAY_CA"])
    return IMAPClient("127.0.0.1", port=PORT, ssl_context=context)


def refuses(call, *arguments):
    try:
        call(*arguments)
    except exceptions.IMAPClientError:
        return
    raise AssertionError(f"{call.__name__}{arguments} was answered with OK")


with connect() as stranger:
    refuses(stranger.login, USER, "wrong")
    refuses(stranger.list_folders)

box = connect()
box.plain_login(USER, PASSWORD)
assert b"name" in str(box.id_({"name": "test"})).encode(), "ID"
namespace = box.namespace()
assert namespace.personal[0] == ("", "/"), namespace

# Folders with accents, spaces, quotes, ampersands and letters beyond the first plane.
names = ["Été", "Été/À lire", 'R & D "2026"', "Ωμέγα/日本", "Cœur 🫀", "dossier\\barre"]
for name in names:
    box.create_folder(name)
    box.subscribe_folder(name)
listed = {name for _, _, name in box.list_folders()}
assert set(names) <= listed, (names, listed)
assert set(names) <= {name for _, _, name in box.list_sub_folders()}
assert {name for _, _, name in box.list_folders("Été", "/*")} == {"Été/À lire"}
for use, name in ((b"\\Sent", "Sent"), (b"\\Trash", "Trash"), (b"\\Drafts", "Drafts"), (b"\\Junk", "Junk")):
    assert box.find_special_folder(use) == name, use
box.rename_folder("Été", "Hiver")
assert box.folder_exists("Hiver/À lire") and not box.folder_exists("Été/À lire")
box.unsubscribe_folder('R & D "2026"')
box.delete_folder('R & D "2026"')
refuses(box.delete_folder, 'R & D "2026"')
refuses(box.select_folder, "Nulle part")
refuses(box.create_folder, "INBOX")

# Letters.
when = datetime.datetime(2026, 11, 20, 14, 36, tzinfo=datetime.timezone.utc)
for number in range(1, 8):
    flags = (SEEN, b"$Suivi") if number == 1 else ()
    answer = box.append("Hiver", letters.letter(number), flags, when + datetime.timedelta(hours=number))
    assert b"APPENDUID" in answer, answer
if box.has_capability("MULTIAPPEND"):
    box.multiappend("Cœur 🫀", [letters.letter(20), {"msg": letters.letter(21), "flags": [SEEN]}])
    assert box.folder_status("Cœur 🫀", ["MESSAGES", "UNSEEN"]) == {b"MESSAGES": 2, b"UNSEEN": 1}
info = box.select_folder("Hiver")
assert info[b"EXISTS"] == 7 and info[b"UIDNEXT"] == 8, info
uids = box.search("ALL")
assert uids == list(range(1, 8)), uids
got = box.fetch(uids, ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "UID"])
for uid, item in got.items():
    assert item[b"ENVELOPE"].message_id == f"<{uid}@client.test>".encode(), item
    assert item[b"RFC822.SIZE"] == len(letters.letter(uid)), item
    assert item[b"BODYSTRUCTURE"][:2] == (b"text", b"plain"), item
    assert set(got[1][b"FLAGS"]) == {SEEN, b"$Suivi"}, got[1]
assert box.fetch([3], ["BODY.PEEK[]"])[3][b"BODY[]"] == letters.letter(3)
assert SEEN not in box.get_flags([3])[3]
assert len(box.fetch([3], ["BODY[1]<0.10>"])[3][b"BODY[1]<0>"]) == 10
assert SEEN in box.get_flags([3])[3]

# Searches.
assert box.search(["SUBJECT", "Éloïse"], "UTF-8") == uids
assert box.search(["TEXT", "ÉLOÏSE VA"], "UTF-8") == uids
assert box.search(["NOT", "KEYWORD", "$Suivi", "UID", "1:3"]) == [2, 3]
assert box.search(["OR", ["FROM", "colleague2"], ["FROM", "colleague5"]]) == [2, 5]
assert box.search(["SINCE", datetime.date(2026, 11, 20), "LARGER", 10]) == uids
assert box.search(["SENTBEFORE", datetime.date(2026, 11, 13)]) == [1, 2]
assert box.search(["HEADER", "References", "1@client.test"]) == [2]
if box.has_capability("SORT"):
    assert box.sort("REVERSE DATE") == uids[::-1]
    assert box.sort(["SUBJECT"], ["UID", "2:4"]) == [2, 3, 4]
if box.has_capability("THREAD=REFERENCES"):
    assert (1, 2) in box.thread("REFERENCES"), box.thread("REFERENCES")
if box.has_capability("THREAD=ORDEREDSUBJECT"):
    assert box.thread("ORDEREDSUBJECT")

# Flags.
box.add_flags([2, 3], [FLAGGED, b"$Answered_by_me"])
assert box.remove_flags([2], FLAGGED)[2] == (b"$Answered_by_me",)
assert set(box.set_flags([4], [b"\\Draft"])[4]) >= {b"\\Draft"}
assert FLAGGED in box.get_flags([3])[3]

# Copies, moves, removals.
box.copy([1, 2], "Hiver/À lire")
assert box.folder_status("Hiver/À lire", ["MESSAGES"]) == {b"MESSAGES": 2}
box.move([3], "Trash")
assert 3 not in box.search()
box.delete_messages([1, 2])
assert DELETED in box.get_flags([1])[1]
box.uid_expunge([1]) if hasattr(box, "uid_expunge") else box.expunge([1])
assert box.search() == [2, 4, 5, 6, 7]
box.expunge()
assert box.search() == [4, 5, 6, 7]
if box.has_capability("CONDSTORE"):
    status = box.folder_status("Hiver", ["HIGHESTMODSEQ"])
    assert status[b"HIGHESTMODSEQ"] > 0
    first = box.fetch([4], ["MODSEQ"])[4][b"MODSEQ"][0]
    box.add_flags([4], SEEN)
    changed = box.fetch([4, 5, 6, 7], ["FLAGS"], [f"CHANGEDSINCE {first}"])
    assert list(changed) == [4], changed
if box.has_capability("QUOTA"):
    box.get_quota_root("INBOX")
    box.get_quota()
if box.has_capability("ACL"):
    assert box.getacl("INBOX"), "the owner's own rights"
wanted = [name for name in ("CONDSTORE", "QRESYNC", "UTF8=ACCEPT") if box.has_capability(name)]
if wanted:
    box.unselect_folder() if box.has_capability("UNSELECT") else box.close_folder()
    enabled = connect()
    enabled.login(USER, PASSWORD)
    assert {name.decode() for name in enabled.enable(*wanted)} >= set(wanted) - {"CONDSTORE"}, wanted
    enabled.logout()

# Waiting.
box.select_folder("INBOX", readonly=True)
refuses(box.add_flags, "1:*", SEEN) if box.search() else None
before = len(box.search())
box.idle()
threading.Timer(0.3, letters.send).start()
news = []
for _ in range(20):
    news += box.idle_check(timeout=1)
    if (before + 1, b"EXISTS") in news:
        break
text, rest = box.idle_done()
assert (before + 1, b"EXISTS") in news + rest, news
assert len(box.search()) == before + 1
box.noop()
box.close_folder()
box.logout()
print("all passed")
