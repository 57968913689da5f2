//! The part of a report that people read: what happened, to whom, what to do. French first,
//! then English; plain sentences.
use std::time::Duration;

use crate::domain::status::EnhancedStatus;
use crate::domain::time::Timestamp;
use crate::proto::dsn::Action;
use crate::proto::dsn::Alternative;
use crate::proto::dsn::BY_ADMINISTRATOR;
use crate::proto::dsn::RecipientReport;
use crate::proto::dsn::Report;
use crate::proto::dsn::one_line;
use crate::proto::mime::date;

/// What a status means and what to do about it.
struct Cause {
    french: &'static str,
    english: &'static str,
}

/// The subject, in ASCII so that every list shows it.
pub(super) fn subject(report: &Report<'_>) -> &'static str {
    match worst(report) {
        Action::Failed => "Message non remis / Mail not delivered",
        Action::Delayed if report.late.is_some() => "Message en retard / Mail late",
        Action::Delayed => "Message en attente / Mail delayed",
        Action::Relayed => "Message transmis / Mail relayed",
        Action::Delivered => "Message remis / Mail delivered",
    }
}

fn worst(report: &Report<'_>) -> Action {
    let worst_first = [Action::Failed, Action::Delayed, Action::Relayed];
    let has = |action| report.recipients.iter().any(|recipient| recipient.action == action);
    worst_first.into_iter().find(|action| has(*action)).unwrap_or(Action::Delivered)
}

/// The whole text, with CRLF line ends.
pub(super) fn explain(report: &Report<'_>) -> String {
    let mut lines = vec![
        "(English below)".to_owned(),
        String::new(),
        "Bonjour,".to_owned(),
        String::new(),
        format!(
            "Ce message automatique concerne votre message du {}.",
            french_time(report.arrival)
        ),
    ];
    if let Some(late) = &report.late {
        let within = french_duration(late.within);
        lines.push(match late.class {
            "*" => format!("Il devait arriver en {within}. Ce délai est dépassé."),
            class => format!(
                "Il contient un document de type {} et devait arriver en {within}. Ce délai est dépassé.",
                one_line(class)
            ),
        });
    }
    for recipient in report.recipients {
        lines.push(String::new());
        french(recipient, &mut lines);
    }
    lines.push(String::new());
    lines.extend(reference(report, "Référence pour le support"));
    lines.extend([
        "Vous ne pouvez pas répondre à ce message.".to_owned(),
        String::new(),
        "----------------------------------------".to_owned(),
        String::new(),
        "Hello,".to_owned(),
        String::new(),
        format!("This automatic message is about your mail of {}.", english_time(report.arrival)),
    ]);
    if let Some(late) = &report.late {
        let within = english_duration(late.within);
        lines.push(match late.class {
            "*" => format!("It should have arrived within {within}. That time is over."),
            class => format!(
                "It holds a document of type {} and should have arrived within {within}. That time is over.",
                one_line(class)
            ),
        });
    }
    for recipient in report.recipients {
        lines.push(String::new());
        english(recipient, &mut lines);
    }
    lines.push(String::new());
    lines.extend(reference(report, "Reference for the support"));
    lines.extend(["You cannot answer this message.".to_owned(), String::new()]);
    lines.join("\r\n")
}

fn reference(report: &Report<'_>, label: &str) -> Option<String> {
    let reference = one_line(report.reference);
    (!reference.is_empty()).then(|| format!("{label} : {reference}."))
}

fn french(recipient: &RecipientReport<'_>, lines: &mut Vec<String>) {
    let address = recipient.address;
    match recipient.action {
        Action::Failed => {
            lines.push(format!("Il n'a pas été remis à {address}."));
            lines.push(cause(recipient).french.to_owned());
        }
        Action::Delayed => {
            lines.push(format!("Il n'a pas encore pu être remis à {address}."));
            lines.extend(french_attempts(recipient));
            lines.push(match recipient.retry_until {
                Some(until) => format!(
                    "Nous continuons d'essayer jusqu'au {}. Ne renvoyez pas le message.",
                    french_time(until)
                ),
                None => {
                    "Cet envoi est suspendu : le support de votre opérateur décide de la suite. \
                         Ne renvoyez pas le message."
                        .to_owned()
                }
            });
            lines.extend(alternatives(
                recipient,
                "Autre adresse de cette personne",
                "Autre adresse de la même structure",
            ));
            lines.push(match recipient.alternatives.is_empty() {
                true => "Si c'est urgent, joignez votre correspondant autrement.".to_owned(),
                false => "Si c'est urgent, écrivez à cette autre adresse.".to_owned(),
            });
        }
        Action::Delivered => {
            lines.push(format!("Il a été remis dans la boîte aux lettres de {address}."));
        }
        Action::Relayed => {
            lines.push(format!("Il a été transmis à l'opérateur de {address}."));
            lines.push("Cet opérateur ne confirmera peut-être pas la remise.".to_owned());
        }
    }
    lines.extend(said(recipient, "Réponse technique"));
}

fn english(recipient: &RecipientReport<'_>, lines: &mut Vec<String>) {
    let address = recipient.address;
    match recipient.action {
        Action::Failed => {
            lines.push(format!("It was not delivered to {address}."));
            lines.push(cause(recipient).english.to_owned());
        }
        Action::Delayed => {
            lines.push(format!("It could not be delivered to {address} yet."));
            lines.extend(english_attempts(recipient));
            lines.push(match recipient.retry_until {
                Some(until) => {
                    format!("We keep trying until {}. Do not send it again.", english_time(until))
                }
                None => "This mail is on hold: the support of your operator decides what becomes \
                         of it. Do not send it again."
                    .to_owned(),
            });
            lines.extend(alternatives(
                recipient,
                "Another address of this person",
                "Another address of the same structure",
            ));
            lines.push(match recipient.alternatives.is_empty() {
                true => "If it is urgent, reach the recipient in another way.".to_owned(),
                false => "If it is urgent, write to that other address.".to_owned(),
            });
        }
        Action::Delivered => lines.push(format!("It was delivered to the mailbox of {address}.")),
        Action::Relayed => {
            lines.push(format!("It was handed to the operator of {address}."));
            lines.push("That operator may not confirm the delivery.".to_owned());
        }
    }
    lines.extend(said(recipient, "Technical answer"));
}

fn french_attempts(recipient: &RecipientReport<'_>) -> Option<String> {
    let last = recipient.last_attempt?;
    let times = match recipient.attempts {
        0 => return None,
        1 => "Il y a eu une tentative".to_owned(),
        many => format!("Il y a eu {many} tentatives, la dernière"),
    };
    Some(format!("{times} le {}.", french_time(last)))
}

fn english_attempts(recipient: &RecipientReport<'_>) -> Option<String> {
    let last = recipient.last_attempt?;
    let times = match recipient.attempts {
        0 => return None,
        1 => "It was tried once".to_owned(),
        many => format!("It was tried {many} times, the last time"),
    };
    Some(format!("{times} on {}.", english_time(last)))
}

fn alternatives(recipient: &RecipientReport<'_>, person: &str, structure: &str) -> Vec<String> {
    let line = |other: &Alternative| {
        let label = if other.same_person { person } else { structure };
        let (address, name) = (visible(&other.address), visible(&other.name));
        match name.is_empty() {
            true => format!("{label} : {address}."),
            false => format!("{label} : {address} ({name})."),
        }
    };
    recipient.alternatives.iter().map(line).collect()
}

/// The directory is published by others: one line of text, accents kept.
fn visible(text: &str) -> String {
    text.trim().chars().filter(|character| !character.is_control()).take(254).collect()
}

fn said(recipient: &RecipientReport<'_>, label: &str) -> Option<String> {
    let said = recipient.diagnostic.map(one_line).filter(|said| !said.is_empty())?;
    Some(match recipient.remote_mta.map(one_line).filter(|host| !host.is_empty()) {
        Some(host) => format!("{label} ({}, {host}) : {said}", recipient.status),
        None => format!("{label} ({}) : {said}", recipient.status),
    })
}

/// One cause, one thing to do (RFC 3463 §3, and the codes that were registered since).
fn cause(recipient: &RecipientReport<'_>) -> Cause {
    let EnhancedStatus(class, subject, detail) = recipient.status;
    match (subject, detail) {
        // What another host calls so may be anything.
        _ if recipient.status == BY_ADMINISTRATOR && recipient.remote_mta.is_none() => Cause {
            french: "Un administrateur a arrêté cet envoi. Contactez le support de votre opérateur.",
            english: "An administrator stopped this mail. Contact the support of your operator.",
        },
        (1, 0 | 1 | 6) => Cause {
            french: "Cette adresse n'existe pas ou plus. Vérifiez-la dans l'annuaire, puis renvoyez le message.",
            english: "This address does not exist, or no longer does. Check it in the directory, then send the message again.",
        },
        (1, 2 | 10) => Cause {
            french: "Le domaine de cette adresse ne reçoit pas de courrier. Vérifiez l'adresse dans l'annuaire, puis renvoyez le message.",
            english: "The domain of this address receives no mail. Check the address in the directory, then send the message again.",
        },
        (1, 7 | 8) => Cause {
            french: "Votre adresse d'expéditeur a été refusée. Contactez le support de votre opérateur.",
            english: "Your sender address was refused. Contact the support of your operator.",
        },
        (1, _) => Cause {
            french: "Cette adresse ne peut pas recevoir de message MSSanté. Vérifiez-la dans l'annuaire.",
            english: "This address cannot receive MSSanté mail. Check it in the directory.",
        },
        (2, 2) => Cause {
            french: "La boîte aux lettres est pleine. Prévenez votre correspondant autrement, puis renvoyez le message.",
            english: "The mailbox is full. Tell the recipient in another way, then send the message again.",
        },
        (2, 3) | (3, 4) => Cause {
            french: "Le message est trop volumineux. Réduisez les pièces jointes, puis renvoyez-le.",
            english: "The message is too large. Make the attachments smaller, then send it again.",
        },
        (2, _) => Cause {
            french: "La boîte aux lettres est fermée. Joignez votre correspondant autrement.",
            english: "The mailbox is closed. Reach the recipient in another way.",
        },
        (4, 6) => Cause {
            french: "Le message tourne en boucle entre serveurs. Contactez le support de votre opérateur.",
            english: "The message goes round in a loop between servers. Contact the support of your operator.",
        },
        (4, 4) => Cause {
            french: "Nous ne savons pas où joindre l'opérateur de cette adresse. Vérifiez l'adresse dans l'annuaire ; si elle est juste, contactez le support de votre opérateur.",
            english: "We do not know where to reach the operator of this address. Check the address in the directory; if it is right, contact the support of your operator.",
        },
        (4, 3) => Cause {
            french: "La liste des opérateurs de confiance n'était pas à jour. Contactez le support de votre opérateur.",
            english: "The list of trusted operators was out of date. Contact the support of your operator.",
        },
        (3, 0 | 1 | 2 | 5) | (4, _) => Cause {
            french: "L'opérateur du destinataire n'a pas pu être joint à temps. Renvoyez le message plus tard ; si c'est urgent, joignez votre correspondant autrement.",
            english: "The recipient's operator could not be reached in time. Send the message again later; if it is urgent, reach the recipient in another way.",
        },
        (6, 7..=9) => Cause {
            french: "L'opérateur du destinataire n'accepte pas les caractères accentués dans les adresses ou les en-têtes. Renvoyez le message sans accents dans les adresses.",
            english: "The recipient's operator does not take accented characters in addresses or header fields. Send the message again without them in the addresses.",
        },
        (6, 1..=3) => Cause {
            french: "L'opérateur du destinataire n'accepte pas ce format de message (8 bits). Renvoyez-le depuis un logiciel qui encode les accents et les pièces jointes.",
            english: "The recipient's operator does not take this form of message (8 bit). Send it from a program that encodes accents and attachments.",
        },
        (3 | 6, _) => Cause {
            french: "Le contenu du message n'a pas été accepté. Vérifiez les pièces jointes, puis renvoyez-le.",
            english: "The content of the message was not accepted. Check the attachments, then send it again.",
        },
        (7, 4 | 5 | 6 | 10 | 11) => Cause {
            french: "La liaison chiffrée avec l'opérateur du destinataire n'a pas pu être établie ou vérifiée. Rien ne lui a été envoyé. Contactez le support de votre opérateur.",
            english: "The encrypted connection to the recipient's operator could not be made or verified. Nothing was sent to it. Contact the support of your operator.",
        },
        (7, _) if class == 4 => Cause {
            french: "L'opérateur du destinataire n'a pas pu vérifier à temps que le message venait d'un opérateur de confiance. Contactez le support de votre opérateur.",
            english: "The recipient's operator could not verify in time that the message came from a trusted operator. Contact the support of your operator.",
        },
        (7, _) => Cause {
            french: "Les règles de sécurité n'autorisent pas cet envoi. Un patient ne peut que répondre à un message reçu ; un professionnel doit écrire à une adresse MSSanté.",
            english: "The security rules do not allow this mail. A patient can only answer a message received; a professional must write to an MSSanté address.",
        },
        _ => Cause {
            french: "Le serveur du destinataire l'a refusé. Si cela se répète, contactez le support de votre opérateur en citant ce message.",
            english: "The recipient's server refused it. If this happens again, contact the support of your operator and quote this message.",
        },
    }
}

fn french_time(moment: Timestamp) -> String {
    date::in_paris(moment).strftime("%d/%m/%Y à %Hh%M (heure de Paris)").to_string()
}

fn english_time(moment: Timestamp) -> String {
    date::in_paris(moment).strftime("%Y-%m-%d %H:%M (Paris time)").to_string()
}

fn french_duration(duration: Duration) -> String {
    match unit(duration) {
        (1, Unit::Second) => "1 seconde".to_owned(),
        (count, Unit::Second) => format!("{count} secondes"),
        (1, Unit::Minute) => "1 minute".to_owned(),
        (count, Unit::Minute) => format!("{count} minutes"),
        (1, Unit::Hour) => "1 heure".to_owned(),
        (count, Unit::Hour) => format!("{count} heures"),
    }
}

fn english_duration(duration: Duration) -> String {
    match unit(duration) {
        (1, Unit::Second) => "1 second".to_owned(),
        (count, Unit::Second) => format!("{count} seconds"),
        (1, Unit::Minute) => "1 minute".to_owned(),
        (count, Unit::Minute) => format!("{count} minutes"),
        (1, Unit::Hour) => "1 hour".to_owned(),
        (count, Unit::Hour) => format!("{count} hours"),
    }
}

enum Unit {
    Second,
    Minute,
    Hour,
}

/// The largest unit of which the duration is a whole number.
fn unit(duration: Duration) -> (u64, Unit) {
    match duration.as_secs() {
        seconds if seconds > 0 && seconds % 3_600 == 0 => (seconds / 3_600, Unit::Hour),
        seconds if seconds > 0 && seconds % 60 == 0 => (seconds / 60, Unit::Minute),
        seconds => (seconds, Unit::Second),
    }
}
