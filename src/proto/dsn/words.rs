//! The part of a report that people read: what happened, to whom, what to do. French first,
//! then English; plain sentences.
use crate::domain::status::EnhancedStatus;
use crate::domain::time::Timestamp;
use crate::proto::dsn::Action;
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
    for recipient in report.recipients {
        lines.push(String::new());
        french(recipient, &mut lines);
    }
    lines.extend([
        String::new(),
        "Vous ne pouvez pas répondre à ce message.".to_owned(),
        String::new(),
        "----------------------------------------".to_owned(),
        String::new(),
        "Hello,".to_owned(),
        String::new(),
        format!("This automatic message is about your mail of {}.", english_time(report.arrival)),
    ]);
    for recipient in report.recipients {
        lines.push(String::new());
        english(recipient, &mut lines);
    }
    lines.extend([String::new(), "You cannot answer this message.".to_owned(), String::new()]);
    lines.join("\r\n")
}

fn french(recipient: &RecipientReport<'_>, lines: &mut Vec<String>) {
    let address = recipient.address;
    match recipient.action {
        Action::Failed => {
            lines.push(format!("Il n'a pas été remis à {address}."));
            lines.push(cause(recipient.status).french.to_owned());
        }
        Action::Delayed => {
            lines.push(format!("Il n'a pas encore pu être remis à {address}."));
            lines.push(match recipient.retry_until {
                Some(until) => format!(
                    "Nous continuons d'essayer jusqu'au {}. Vous n'avez rien à faire.",
                    french_time(until)
                ),
                None => "Nous continuons d'essayer. Vous n'avez rien à faire.".to_owned(),
            });
            lines.push("Si c'est urgent, joignez votre correspondant autrement.".to_owned());
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
            lines.push(cause(recipient.status).english.to_owned());
        }
        Action::Delayed => {
            lines.push(format!("It could not be delivered to {address} yet."));
            lines.push(match recipient.retry_until {
                Some(until) => {
                    format!("We keep trying until {}. You need do nothing.", english_time(until))
                }
                None => "We keep trying. You need do nothing.".to_owned(),
            });
            lines.push("If it is urgent, reach the recipient in another way.".to_owned());
        }
        Action::Delivered => lines.push(format!("It was delivered to the mailbox of {address}.")),
        Action::Relayed => {
            lines.push(format!("It was handed to the operator of {address}."));
            lines.push("That operator may not confirm the delivery.".to_owned());
        }
    }
    lines.extend(said(recipient, "Technical answer"));
}

fn said(recipient: &RecipientReport<'_>, label: &str) -> Option<String> {
    let said = recipient.diagnostic.map(one_line).filter(|said| !said.is_empty())?;
    Some(match recipient.remote_mta.map(one_line).filter(|host| !host.is_empty()) {
        Some(host) => format!("{label} ({}, {host}) : {said}", recipient.status),
        None => format!("{label} ({}) : {said}", recipient.status),
    })
}

/// One cause, one thing to do (RFC 3463 §3).
fn cause(status: EnhancedStatus) -> Cause {
    let EnhancedStatus(_, subject, detail) = status;
    match (subject, detail) {
        (1, 0 | 1 | 6 | 10) => Cause {
            french: "Cette adresse n'existe pas ou plus. Vérifiez-la dans l'annuaire, puis renvoyez le message.",
            english: "This address does not exist, or no longer does. Check it in the directory, then send the message again.",
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
        (3 | 4, _) => Cause {
            french: "L'opérateur du destinataire n'a pas pu être joint à temps. Renvoyez le message plus tard ; si c'est urgent, joignez votre correspondant autrement.",
            english: "The recipient's operator could not be reached in time. Send the message again later; if it is urgent, reach the recipient in another way.",
        },
        (6, _) => Cause {
            french: "Le contenu du message n'a pas été accepté. Vérifiez les pièces jointes, puis renvoyez-le.",
            english: "The content of the message was not accepted. Check the attachments, then send it again.",
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
