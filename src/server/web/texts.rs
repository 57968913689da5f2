//! Every sentence of the pages, in French and English. A sentence that one language lacks does
//! not compile.
use crate::domain::status::Refusal;

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    /// Français, the default.
    Fr,
    /// English.
    En,
}

impl Lang {
    /// The tag of the `lang` attribute and of `?lang=`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Fr => "fr",
            Self::En => "en",
        }
    }

    /// The language of a tag such as `en` or `fr-FR`.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
        match primary.to_ascii_lowercase().as_str() {
            "fr" => Some(Self::Fr),
            "en" => Some(Self::En),
            _ => None,
        }
    }

    /// The one of our languages that `Accept-Language` likes best (RFC 9110 §12.5.4); French
    /// when it names none.
    pub fn accepted(header: &str) -> Self {
        let mut best = (0, Self::Fr);
        // A browser sends a handful; more is somebody playing.
        for range in header.split(',').take(20) {
            let (tag, weight) = range.split_once(';').unwrap_or((range, ""));
            let Some(lang) = Self::of_tag(tag) else { continue };
            let quality = thousandths(weight.trim().strip_prefix("q=").unwrap_or("1"));
            if quality > best.0 {
                best = (quality, lang);
            }
        }
        best.1
    }

    /// The sentences.
    pub const fn texts(self) -> &'static Texts {
        match self {
            Self::Fr => &FR,
            Self::En => &EN,
        }
    }

    /// The other language.
    pub const fn other(self) -> Self {
        match self {
            Self::Fr => Self::En,
            Self::En => Self::Fr,
        }
    }
}

/// A quality value in thousandths; nonsense counts as 0.
fn thousandths(quality: &str) -> u32 {
    let value: f32 = quality.trim().parse().unwrap_or(0.0);
    if (0.0..=1.0).contains(&value) { (value * 1000.0) as u32 } else { 0 }
}

macro_rules! texts {
    ($($name:ident: $fr:expr, $en:expr;)*) => {
        /// The sentences of one language.
        #[allow(missing_docs, reason = "each field is its own sentence")]
        #[derive(Debug)]
        pub struct Texts { $(pub $name: &'static str,)* }

        /// Le français.
        pub static FR: Texts = Texts { $($name: $fr,)* };
        /// English.
        pub static EN: Texts = Texts { $($name: $en,)* };
    };
}

texts! {
    // The frame of every page.
    skip: "Aller au contenu", "Skip to content";
    service: "Messagerie sécurisée de santé", "Secure health messaging";
    switch: "English", "Français";
    switch_label: "Read this page in English", "Lire cette page en français";
    log_out: "Se déconnecter", "Log out";
    signed_in_as: "Connecté :", "Signed in:";
    footer: "Ce site ne dépose aucun traceur et n’exécute aucun script d’un autre site.",
            "This site sets no tracker and runs no script of another site.";
    home: "Accueil", "Home";

    // Landing.
    landing_title: "Bienvenue", "Welcome";
    landing_intro: "Les messages échangés ici sont chiffrés et restent dans l’espace de confiance MSSanté.",
                   "Messages exchanged here are encrypted and stay within the MSSanté trust space.";
    landing_patient: "Je suis patient", "I am a patient";
    landing_patient_text: "Lire les messages de mes soignants et leur répondre.",
                          "Read messages from my health professionals and answer them.";
    landing_patient_link: "Ouvrir ma messagerie", "Open my inbox";
    landing_admin: "Je suis administrateur", "I am an administrator";
    landing_admin_text: "Suivre l’activité du relais : volumes, file d’attente, certificats.",
                        "Follow the relay’s activity: volumes, queue, certificates.";
    landing_admin_link: "Ouvrir le tableau de bord", "Open the dashboard";
    landing_professional: "Lisez et écrivez avec votre logiciel de messagerie habituel (SMTP et IMAP) ; réglez ici les accès à votre boîte.",
                          "Read and write with your usual mail software (SMTP and IMAP); settle here who and what has access to your mailbox.";
    landing_account: "Je suis professionnel", "I am a professional";
    landing_account_link: "Ouvrir mon compte", "Open my account";

    landing_operator: "Opérateur :", "Operator:";

    // Second factors.
    second_title: "Double authentification", "Two-step login";
    second_asked: "Deuxième étape", "Second step";
    second_asked_text: "Votre mot de passe est correct. Saisissez maintenant le code de votre application d’authentification.",
                       "Your password is correct. Now type the code of your authenticator.";
    second_code: "Code à usage unique", "One-time code";
    second_code_hint: "Six chiffres, ou l’un de vos codes de secours.", "Six digits, or one of your recovery codes.";
    second_wrong: "Ce code n’est pas correct, ou il a déjà servi. Attendez le suivant.",
                  "This code is not correct, or was used already. Wait for the next one.";
    second_must: "Cet établissement demande une deuxième étape à chaque connexion. Configurez-la maintenant.",
                 "This organisation asks for a second step at each login. Set it up now.";
    second_may: "Un mot de passe se devine ou se vole ; un code de votre téléphone en plus protège vos messages.",
                "A password can be guessed or stolen; a code of your telephone besides protects your messages.";
    second_on: "La double authentification est active.", "Two-step login is on.";
    second_codes_left: "Codes de secours restants :", "Recovery codes left:";
    second_change_text: "Pour changer quelque chose, saisissez un code.", "To change something, type a code.";
    second_new_codes: "Nouveaux codes de secours", "New recovery codes";
    second_remove: "Désactiver", "Turn off";
    second_step_scan: "Scannez ce code avec une application d’authentification.", "Scan this code with an authenticator program.";
    second_qr: "Code QR du secret écrit ci-dessous", "QR code of the secret that is written below";
    second_by_hand: "Ou saisissez ce secret :", "Or type this secret:";
    second_open: "Ouvrir dans l’application de cet appareil", "Open in the program of this device";
    second_step_code: "Saisissez le code qu’elle affiche.", "Type the code that it shows.";
    second_turn_on: "Activer", "Turn on";
    second_codes_title: "Vos codes de secours", "Your recovery codes";
    second_codes_text: "Chacun remplace un code, une seule fois, si votre téléphone est perdu. Ils ne seront plus jamais affichés : imprimez-les.",
                       "Each stands in for a code, once, should your telephone be lost. They are never shown again: print them.";
    second_codes_kept: "Ils sont en lieu sûr", "They are in a safe place";
    second_asked_passkey: "Votre mot de passe est correct. Utilisez maintenant une clé d’accès, ou saisissez un code.",
                          "Your password is correct. Now use a passkey, or type a code.";
    second_passkey_only: "Votre mot de passe est correct. Utilisez maintenant votre clé d’accès.",
                         "Your password is correct. Now use your passkey.";
    second_shown_again: "Identité confirmée : pendant cinq minutes, vous pouvez changer vos moyens de connexion sans autre code.",
                        "It is you: for five minutes you can change your means of login without another code.";
    passkey_title: "Clés d’accès", "Passkeys";
    passkey_text: "Une clé d’accès est gardée par un téléphone, un ordinateur ou une clé de sécurité. Elle ne répond qu’à ce site : personne ne peut vous la soutirer.",
                  "A passkey is kept by a telephone, a computer or a security key. It answers this site only: nobody can coax it out of you.";
    passkey_none: "Aucune clé d’accès.", "No passkeys.";
    passkey_use: "Utiliser une clé d’accès", "Use a passkey";
    passkey_or_code: "ou un code", "or a code";
    passkey_add: "Ajouter une clé d’accès", "Add a passkey";
    passkey_name: "Nom de la clé d’accès", "Name of the passkey";
    passkey_name_hint: "Pour la reconnaître : « téléphone », « ordinateur du cabinet »…", "To know it again: “telephone”, “computer at work”…";
    passkey_since: "Ajoutée le", "Added";
    passkey_used: "Dernière utilisation :", "Last used:";
    passkey_unused: "Jamais utilisée", "Never used";
    passkey_copied_mark: "Refusée : une copie de cette clé a été utilisée. Retirez-la.",
                         "Refused: a copy of it was used. Remove it.";
    passkey_remove: "Retirer", "Remove";
    passkey_make_title: "Créer une clé d’accès", "Make a passkey";
    passkey_make_text: "Votre navigateur demande où la garder, puis votre empreinte, votre visage ou un code.",
                       "Your browser asks where to keep it, and then for your finger, your face or a PIN.";
    passkey_make: "Créer la clé d’accès", "Make the passkey";
    passkey_back: "Revenir sans créer de clé", "Go back without one";
    passkey_no_script: "Les clés d’accès ont besoin de JavaScript, que ce navigateur n’exécute pas. Utilisez un code.",
                       "Passkeys need JavaScript, which this browser does not run. Use a code.";
    passkey_absent: "Ce navigateur ne connaît pas les clés d’accès. Utilisez un code.",
                    "This browser does not know passkeys. Use a code.";
    passkey_failed: "Rien n’a été fait : l’opération a été annulée, ou la clé d’accès n’est pas là. Vous pouvez recommencer.",
                    "Nothing was done: it was cancelled, or the passkey is not here. You can try again.";
    passkey_known: "Cet appareil garde déjà une clé d’accès de ce compte.",
                   "This device keeps a passkey of this account already.";
    passkey_wrong: "Cette clé d’accès n’a pas été acceptée. Recommencez, ou utilisez un autre moyen.",
                   "This passkey was not accepted. Try again, or use another means.";
    passkey_copied: "Cette clé d’accès a été copiée : elle n’ouvre plus rien. Utilisez un autre moyen, et prévenez votre administrateur.",
                    "This passkey was copied: it opens nothing any more. Use another means, and tell your administrator.";
    passkey_not_made: "La clé d’accès n’a pas été enregistrée. Recommencez.",
                      "The passkey was not registered. Try again.";
    passkey_too_many: "Vous avez déjà dix clés d’accès. Retirez-en une d’abord.",
                      "You have ten passkeys already. Remove one of them first.";
    passkey_last: "C’est votre dernière deuxième étape, et cet établissement en demande une. Ajoutez-en une autre d’abord.",
                  "It is your last second step, and this organisation asks for one. Add another one first.";
    passkey_show_first: "Pour ajouter ou retirer une clé d’accès, montrez d’abord un code ou une clé d’accès.",
                        "To add or remove a passkey, show a code or a passkey first.";
    passkey_manage: "Gérer mes clés d’accès", "Manage my passkeys";
    admin_passkeys: "Mes clés d’accès", "My passkeys";
    admin_passkeys_text: "Avec une clé d’accès, le mot de passe seul n’ouvre plus le tableau de bord.",
                         "With a passkey, the password alone does not open the dashboard any more.";
    admin_needs_totp: "Un code à usage unique est exigé (login.second_factor). Créez-le avec « vaguemestre admin totp ».",
                      "A one-time code is required (login.second_factor). Make it with “vaguemestre admin totp”.";

    // Setting programs up.
    setup_title: "Configurer un logiciel de messagerie", "Set up a mail program";
    setup_link: "Configurer mon logiciel de messagerie", "Set up my mail program";
    setup_intro: "Pour les boîtes aux lettres de", "For mailboxes of";
    setup_thunderbird: "Thunderbird, et la plupart des logiciels", "Thunderbird, and most programs";
    setup_thunderbird_text: "Ajoutez un compte, saisissez votre nom, votre adresse et votre mot de passe. Le logiciel trouve le reste seul.",
                            "Add an account, type your name, address and password. The program finds the rest by itself.";
    setup_outlook: "Outlook", "Outlook";
    setup_outlook_text: "Ajoutez un compte avec votre adresse. Si Outlook demande le type de compte, choisissez IMAP ; s’il ne trouve rien, utilisez les réglages ci-dessous.",
                        "Add an account with your address. If Outlook asks for the type, choose IMAP; if it finds nothing, use the settings below.";
    setup_apple: "iPhone, iPad et Mac", "iPhone, iPad and Mac";
    setup_apple_text: "Saisissez votre adresse, téléchargez le profil et ouvrez-le. L’appareil demande votre mot de passe ; le profil ne le contient pas et n’est pas signé.",
                      "Type your address, download the profile and open it. The device asks for your password; the profile does not hold it and is not signed.";
    setup_address: "Votre adresse", "Your address";
    setup_apple_button: "Télécharger le profil", "Download the profile";
    setup_not_ours: "Cette adresse n’appartient pas à un domaine de ce relais. Vérifiez-la.",
                    "This address is not of a domain of this relay. Please check it.";
    setup_by_hand: "Réglages à la main", "Settings by hand";
    setup_by_hand_text: "Quand il y a deux lignes pour un usage, préférez SSL/TLS.",
                        "Where there are two lines for one purpose, prefer SSL/TLS.";
    setup_server: "Serveur, pour tout", "Server, for everything";
    setup_login: "Identifiant", "User name";
    setup_login_text: "votre adresse complète", "your whole address";
    setup_password_text: "celui de votre boîte aux lettres, ou un mot de passe d’application ; méthode : « mot de passe normal ».",
                         "that of your mailbox, or an app password; method: “normal password”.";
    setup_token_text: "Les logiciels qui le savent peuvent utiliser OAuth2.",
                      "Programs that can may use OAuth2.";
    setup_doors: "Accès ouverts", "Open doors";
    setup_purpose: "Usage", "Purpose";
    setup_protocol: "Protocole", "Protocol";
    setup_port: "Port", "Port";
    setup_security: "Chiffrement", "Encryption";
    setup_reading: "Lire", "Reading";
    setup_fetching: "Relever", "Fetching";
    setup_sending: "Envoyer", "Sending";
    setup_filters: "Filtres et absences", "Filters and absences";
    setup_address_book: "Carnet d’adresses", "Address book";
    setup_address_book_text: "L’annuaire des boîtes MSSanté se consulte depuis le logiciel, avec le même identifiant et le même mot de passe.",
                             "The directory of MSSanté mailboxes can be searched from the program, with the same user name and password.";
    setup_base: "Base de recherche LDAP", "LDAP search base";

    // Logging in.
    login_title: "Ma messagerie – connexion", "My inbox – log in";
    login_heading: "Ma messagerie", "My inbox";
    login_intro: "Lisez les messages de vos soignants et répondez-leur.",
                 "Read the messages of your health professionals and answer them.";
    login_name: "Votre matricule INS", "Your INS number";
    login_name_hint: "15 caractères : votre numéro de sécurité sociale et sa clé. Vous pouvez aussi saisir l’adresse complète.",
                     "15 characters: your social security number and its key. You may also type the whole address.";
    login_password: "Mot de passe", "Password";
    login_button: "Se connecter", "Log in";
    login_wrong: "Le matricule ou le mot de passe n’est pas correct. Vérifiez-les et recommencez.",
                 "The number or the password is not correct. Check both and try again.";
    login_put_off: "Trop d’essais depuis votre connexion. Attendez une minute, puis recommencez.",
                   "Too many attempts from your connection. Wait a minute, then try again.";
    login_professional: "Cette page est réservée aux patients. Votre boîte aux lettres s’ouvre avec votre logiciel de messagerie (IMAP).",
                        "This page is for patients. Your mailbox is opened with your mail software (IMAP).";
    login_temporary: "La connexion est impossible pour le moment. Recommencez dans quelques minutes.",
                     "Logging in is not possible at the moment. Try again in a few minutes.";
    login_expired: "Votre session est terminée. Connectez-vous de nouveau.",
                   "Your session has ended. Please log in again.";
    login_stale: "Cette page était ouverte depuis trop longtemps ou les cookies sont refusés. Recommencez.",
                 "This page was open for too long, or cookies are refused. Please try again.";
    login_stale_title: "Page expirée", "Page expired";
    logged_out: "Vous êtes déconnecté. Fermez le navigateur si d’autres personnes l’utilisent.",
                "You are logged out. Close the browser if other people use it.";
    error_summary: "Il y a un problème", "There is a problem";
    error_prefix: "Erreur – ", "Error – ";

    // A professional's own page.
    account_title: "Mon compte", "My account";
    account_login_title: "Mon compte – connexion", "My account – log in";
    account_login_intro: "Pour les professionnels qui ont une boîte aux lettres ici.",
                         "For professionals who have a mailbox here.";
    account_login_name: "Votre adresse MSSanté", "Your MSSanté address";
    account_login_wrong: "L’adresse ou le mot de passe n’est pas correct. Vérifiez-les et recommencez.",
                         "The address or the password is not correct. Check them and try again.";
    account_login_citizen: "Cette page est réservée aux professionnels. Votre messagerie de patient est à une autre adresse : revenez à l’accueil.",
                           "This page is for professionals. Your patient inbox has another address: go back home.";
    account_provider: "Se connecter avec Pro Santé Connect", "Log in with Pro Santé Connect";
    account_provider_other: "Se connecter avec mon compte professionnel", "Log in with my professional account";
    account_or: "ou", "or";
    account_mailbox: "Ma boîte aux lettres", "My mailbox";
    account_address: "Adresse", "Address";
    account_name: "Nom", "Name";
    account_kind: "Type", "Kind";
    account_listing: "Annuaire", "Directory";
    account_listed: "Publiée dans l’annuaire national", "Published in the national directory";
    account_red_list: "Liste rouge : non publiée", "Red list: not published";
    account_other_mailbox: "Ouvrir une autre de mes boîtes", "Open another one of my mailboxes";
    account_sessions: "Logiciels connectés", "Programs that are connected";
    account_sessions_none: "Aucun logiciel n’est connecté à votre boîte en ce moment.",
                           "No program is connected to your mailbox at this moment.";
    account_sessions_hint: "Si vous ne reconnaissez pas une connexion, fermez-la, puis changez le mot de passe avec lequel elle s’est ouverte.",
                           "If you do not recognise a connection, close it, then change the password with which it was opened.";
    account_session_end: "Fermer", "Close";
    account_session_ended: "La connexion est fermée.", "The connection is closed.";
    account_since: "depuis le", "since";
    account_door_submission: "Envoi de messages", "Sending messages";
    account_door_reading: "Lecture des messages", "Reading messages";
    account_door_filters: "Filtres", "Filters";
    account_door_pages: "Ces pages", "These pages";
    certificate_title: "Votre propre clé OpenPGP", "Your own OpenPGP key";
    certificate_intro: "Avec votre propre clé, vos nouveaux messages sont scellés pour vous seul : nous ne pouvons plus les ouvrir.",
                       "With your own key, new messages are sealed for you alone: we can no longer open them.";
    certificate_now: "Aujourd’hui", "Today";
    certificate_none: "Aucune clé personnelle n’est enregistrée. Vos messages sont scellés avec une clé que nous gardons pour vous.",
                      "No key of your own is registered. Your messages are sealed with a key that we keep for you.";
    certificate_registered: "Clé enregistrée le", "Key registered on";
    certificate_until: "Elle se termine le", "It ends on";
    certificate_bad: "Cette clé est expirée ou révoquée. Les messages qui vous sont adressés attendent : enregistrez-en une autre, ou retirez-la.",
                     "This key has expired or was revoked. Messages for you are waiting: register another one, or remove it.";
    certificate_remove: "Retirer cette clé", "Remove this key";
    certificate_remove_hint: "Les nouveaux messages seront de nouveau scellés avec une clé que nous gardons. Ceux déjà reçus restent comme ils sont : gardez votre clé pour les lire.",
                             "New messages will again be sealed with a key that we keep. Those already received stay as they are: keep your key to read them.";
    certificate_removed: "La clé est retirée.", "The key is removed.";
    certificate_set: "Votre clé est enregistrée. Elle compte dès maintenant.", "Your key is registered. It counts from now on.";
    certificate_new: "Enregistrer une clé", "Register a key";
    certificate_means_reading: "Nous ne pourrons plus ouvrir vos nouveaux messages. Lisez-les avec un logiciel qui connaît OpenPGP, par exemple Thunderbird.",
                               "We will no longer be able to open your new messages. Read them with a program that knows OpenPGP, such as Thunderbird.";
    certificate_means_search: "La recherche n’y verra que l’objet, l’expéditeur et la date ; les filtres non plus ne liront pas le texte.",
                              "Search will only see their subject, sender and date; filters will not read the text either.";
    certificate_means_loss: "Si vous perdez votre clé, ces messages sont perdus. Personne ne peut les retrouver. Faites une copie de sauvegarde.",
                            "If you lose your key, these messages are lost. Nobody can get them back. Make a backup.";
    certificate_means_earlier: "Les messages déjà reçus restent lisibles comme avant, sauf si vous demandez à l’administrateur de les sceller aussi.",
                               "Messages that you already have stay readable as before, unless you ask the administrator to have them sealed as well.";
    certificate_file: "Fichier de votre clé publique", "File with your public key";
    certificate_paste: "Ou collez-la ici", "Or paste it here";
    certificate_paste_hint: "De « BEGIN PGP PUBLIC KEY BLOCK » à « END ». Jamais la clé privée.",
                            "From “BEGIN PGP PUBLIC KEY BLOCK” to “END”. Never the private key.";
    certificate_understood: "J’ai compris, et j’ai une copie de sauvegarde de ma clé", "I understand, and I have a backup of my key";
    certificate_not_understood: "Cochez la case pour dire que vous avez compris.", "Tick the box to say that you understand.";
    certificate_go_on: "Continuer", "Go on";
    certificate_proof: "Montrez que la clé est à vous", "Show that the key is yours";
    certificate_fingerprint: "Empreinte de la clé, à comparer avec celle de votre logiciel :", "Fingerprint of the key, to compare with the one in your program:";
    certificate_message: "Message scellé", "Sealed message";
    certificate_message_hint: "Ouvrez-le avec votre clé. Il contient un code.", "Open it with your key. It holds a code.";
    certificate_code: "Code", "Code";
    certificate_code_hint: "La dernière ligne du message ouvert.", "The last line of the opened message.";
    certificate_code_wrong: "Ce n’est pas le code du message.", "This is not the code in the message.";
    certificate_code_over: "Ce code n’est plus valable. Recommencez avec votre clé.", "This code is no longer good. Begin again with your key.";
    certificate_challenge_text: "Code pour enregistrer cette clé OpenPGP. Si vous n’avez rien demandé, ne le donnez à personne.",
                                "Code to register this OpenPGP key. If you did not ask for it, give it to nobody.";
    certificate_register: "Enregistrer la clé", "Register the key";
    certificate_unreadable: "Ce n’est pas une clé publique OpenPGP, ou elle est trop grande.", "This is not an OpenPGP public key, or it is too large.";
    certificate_secret: "Elle contient la clé privée. N’envoyez jamais celle-ci à personne : exportez la partie publique.",
                        "It holds the private key. Never send that to anybody: export the public part.";
    certificate_other_address: "Aucune identité de cette clé ne porte l’adresse de votre boîte. Ajoutez-la dans votre logiciel.",
                               "No user id of this key shows the address of your mailbox. Add it in your program.";
    certificate_not_alive: "Cette clé est expirée, ou n’est pas encore valable.", "This key has expired, or is not valid yet.";
    certificate_revoked: "Cette clé est révoquée.", "This key is revoked.";
    certificate_no_encryption: "Cette clé ne permet pas de chiffrer selon les règles d’aujourd’hui.", "This key cannot encrypt by today’s rules.";
    certificate_back: "Retour", "Back";
    programs_title: "Mots de passe d’application", "App passwords";
    programs_intro: "Un mot de passe pour chaque logiciel qui ne sait pas utiliser votre identité professionnelle. Il n’ouvre pas ces pages.",
                    "A password for each program that cannot use your professional identity. It does not open these pages.";
    programs_known: "Vos mots de passe d’application", "Your app passwords";
    programs_none: "Vous n’en avez aucun.", "You have none.";
    programs_created: "Créé le", "Made";
    programs_until: "Valable jusqu’au", "Good until";
    programs_over: "Expiré depuis le", "Expired since";
    programs_only_from: "Seulement depuis", "Only from";
    programs_used: "Dernière utilisation :", "Last used:";
    programs_unused: "Jamais utilisé", "Never used";
    programs_revoke: "Révoquer", "Revoke";
    programs_revoke_hint: "Révoquer ferme aussitôt les connexions ouvertes avec ce mot de passe.",
                          "Revoking closes at once the connections that were opened with this password.";
    programs_revoked: "Le mot de passe d’application est révoqué.", "The app password is revoked.";
    programs_new: "Nouveau mot de passe d’application", "New app password";
    programs_name: "Logiciel", "Program";
    programs_name_hint: "Par exemple : téléphone, Thunderbird du cabinet.", "For example: telephone, Thunderbird at the practice.";
    programs_name_wrong: "Donnez un nom d’une ligne, pas trop long.", "Give a name of one line that is not too long.";
    programs_name_taken: "Ce nom est déjà pris. Révoquez d’abord l’autre, ou choisissez un autre nom.",
                         "This name is taken. Revoke the other one first, or choose another name.";
    programs_too_many: "Vous en avez trop. Révoquez d’abord ceux qui ne servent plus.",
                       "You have too many. First revoke those that are no longer used.";
    programs_scope: "Il peut", "It may";
    programs_scope_wrong: "Choisissez ce qu’il peut faire.", "Choose what it may do.";
    programs_both: "lire et envoyer", "read and send";
    programs_read: "lire seulement", "read only";
    programs_send: "envoyer seulement", "send only";
    programs_days: "Durée", "Duration";
    programs_days_wrong: "Choisissez une durée.", "Choose a duration.";
    programs_a_year: "un an", "one year";
    programs_never_ends: "jusqu’à sa révocation", "until it is revoked";
    programs_network: "Réseau (facultatif)", "Network (optional)";
    programs_network_hint: "Le seul d’où il est accepté, par exemple 192.0.2.0/24.", "The only one from which it is taken, for example 192.0.2.0/24.";
    programs_network_wrong: "Ce n’est pas un réseau. Écrivez-le comme 192.0.2.0/24, ou laissez vide.",
                            "This is no network. Write it as 192.0.2.0/24, or leave it empty.";
    programs_make: "Créer", "Make";
    programs_made_title: "Votre nouveau mot de passe d’application", "Your new app password";
    programs_made_text: "Saisissez-le maintenant dans le logiciel. Il ne sera plus jamais affiché.",
                        "Type it into the program now. It will never be shown again.";
    programs_typed: "Il est saisi", "It is typed";
    programs_back: "Retour à mon compte", "Back to my account";
    account_door_addressbook: "Carnet d’adresses", "Address book";
    account_means_app: "Mot de passe d’application", "App password";
    account_means_token: "Identité professionnelle (jeton)", "Professional identity (token)";
    account_means_certificate: "Certificat", "Certificate";
    account_choice_title: "Choisir une boîte aux lettres", "Choose a mailbox";
    account_choice_intro: "Plusieurs boîtes aux lettres sont à vous. Laquelle voulez-vous régler ?",
                          "Several mailboxes are yours. Which one do you want to settle?";
    account_choice_button: "Ouvrir", "Open";
    account_onward_title: "Connexion réussie", "You are logged in";
    account_onward: "Votre compte s’ouvre.", "Your account opens.";
    account_onward_link: "Continuer", "Continue";
    finder_title: "Annuaire", "Directory";
    finder_label: "Trouver une boîte aux lettres", "Find a mailbox";
    finder_hint: "Nom, profession, ville, établissement ou adresse : le début des mots suffit.",
                 "Name, profession, town, structure or address: the beginnings of words are enough.";
    finder_button: "Chercher", "Search";
    finder_nobody: "Aucune boîte aux lettres publiée ne correspond. Celles de la liste rouge ne sont pas dans l’annuaire, mais elles reçoivent les messages.",
                   "No published mailbox matches. Those on the red list are not in the directory, but they receive letters.";
    finder_more: "Il y en a d’autres : ajoutez un mot pour préciser.", "There are more: add a word.";
    finder_away: "L’annuaire ne répond pas. Recommencez dans quelques minutes.",
                 "The directory does not answer. Try again in a few minutes.";
    finder_name: "Nom", "Name";
    finder_address: "Adresse MSSanté", "MSSanté address";
    finder_place: "Lieu", "Place";
    finder_paper_free: "Échanges sans papier", "Paper-free exchange";
    finder_answers: "Écrit depuis cette boîte", "Writes from this mailbox";
    account_out_title: "Déconnexion", "Logging out";
    account_out: "Vous êtes déconnecté d’ici. La session du service d’identification se termine aussi.",
                 "You are logged out here. The session at the identity provider ends, too.";
    account_no_mailbox: "Vous êtes bien identifié, mais aucune boîte aux lettres de ce service n’est rattachée à votre identité. Demandez à votre administrateur de l’indiquer.",
                        "You are identified, but no mailbox of this service is linked to your identity. Ask your administrator to link it.";
    account_provider_away: "Le service d’identification ne répond pas. Recommencez dans quelques minutes.",
                           "The identity provider does not answer. Try again in a few minutes.";
    account_provider_refused: "L’identification n’a pas abouti. Recommencez.",
                              "The identification did not succeed. Try again.";

    // Administrators' login.
    admin_login_title: "Tableau de bord – connexion", "Dashboard – log in";
    admin_login_heading: "Tableau de bord", "Dashboard";
    admin_login_intro: "Réservé aux administrateurs du relais.", "For administrators of the relay only.";
    admin_login_name: "Nom d’administrateur", "Administrator name";
    admin_login_wrong: "Le nom ou le mot de passe n’est pas correct.",
                       "The name or the password is not correct.";
    admin_closed: "Le tableau de bord est fermé : aucun mot de passe n’est configuré (admin.password_file).",
                  "The dashboard is closed: no password is configured (admin.password_file).";

    // List of letters.
    inbox_title: "Messages reçus", "Messages received";
    inbox_empty: "Aucun message pour le moment. Vos soignants peuvent vous écrire ; leurs messages arriveront ici.",
                 "No message yet. Your health professionals can write to you; their messages will arrive here.";
    inbox_page_empty: "Il n’y a pas d’autre message.", "There are no further messages.";
    inbox_caption: "Messages, du plus récent au plus ancien", "Messages, newest first";
    inbox_sender: "Expéditeur", "Sender";
    inbox_subject: "Objet", "Subject";
    inbox_date: "Date", "Date";
    inbox_state: "État", "State";
    inbox_unread: "Non lu", "Unread";
    inbox_read: "Lu", "Read";
    inbox_answered: "Répondu", "Answered";
    inbox_attachment_one: "1 pièce jointe", "1 attachment";
    inbox_attachment_many: "pièces jointes", "attachments";
    inbox_older: "Messages plus anciens", "Older messages";
    inbox_newer: "Messages plus récents", "Newer messages";
    inbox_pages: "Autres messages", "Other messages";
    inbox_no_subject: "(sans objet)", "(no subject)";
    inbox_no_sender: "(expéditeur inconnu)", "(unknown sender)";
    inbox_unread_one: "1 message non lu", "1 unread message";
    inbox_unread_many: "messages non lus", "unread messages";
    inbox_unread_none: "Aucun message non lu", "No unread message";

    // One letter.
    letter_back: "Retour aux messages", "Back to messages";
    letter_from: "De", "From";
    letter_to: "À", "To";
    letter_date: "Reçu le", "Received";
    letter_to_me: "vous", "you";
    letter_body: "Message", "Message";
    letter_empty: "Ce message ne contient pas de texte.", "This message contains no text.";
    letter_sealed: "Ce message est chiffré de bout en bout : ouvrez-le avec votre propre clé. Téléchargez la pièce jointe « encrypted.asc », ou lisez-le avec votre logiciel de messagerie. La recherche ne voit que son en-tête.",
                   "This message is end-to-end encrypted: open it with your own key. Download the attachment “encrypted.asc”, or read it with your mail program. Searching sees its header only.";
    letter_images: "Les images de ce message ne sont pas affichées, pour protéger votre vie privée.",
                   "Images in this message are not shown, to protect your privacy.";
    letter_long: "Ce message est très long : seul le début est affiché.",
                 "This message is very long: only its beginning is shown.";
    letter_attachments: "Pièces jointes", "Attachments";
    letter_download: "Télécharger", "Download";
    letter_unreadable: "Ce message est endommagé et ne peut pas être ouvert. Les autres messages ne sont pas concernés. Demandez à l’expéditeur de l’envoyer de nouveau.",
                       "This message is damaged and cannot be opened. Other messages are not affected. Ask the sender to send it again.";
    letter_missing: "Ce message n’existe pas ou n’existe plus.",
                    "This message does not exist, or not any more.";

    // Answering.
    answer_heading: "Répondre", "Answer";
    answer_to: "Votre réponse sera envoyée à", "Your answer will be sent to";
    answer_text: "Votre message", "Your message";
    answer_files: "Pièces jointes (facultatif)", "Attachments (optional)";
    answer_files_hint: "Dix fichiers au plus. Taille totale maximale :",
                       "Ten files at most. Maximum total size:";
    answer_emergency: "En cas d’urgence, n’attendez pas de réponse : appelez le 15 ou le 112.",
                      "In an emergency, do not wait for an answer: call 15 or 112.";
    answer_send: "Envoyer la réponse", "Send answer";
    answer_sent: "Votre réponse est envoyée.", "Your answer has been sent.";
    answer_sent_no_copy: "Votre réponse est envoyée. La copie n’a pas pu être rangée dans vos messages envoyés.",
                         "Your answer has been sent. Its copy could not be filed in your sent messages.";
    answer_closed: "Cet échange est clos : le professionnel a indiqué qu’il n’attend pas de réponse. S’il vous écrit de nouveau, vous pourrez répondre.",
                   "This exchange is closed: the professional said that no answer is expected. If they write again, you will be able to answer.";
    answer_closed_heading: "Échange clos", "Exchange closed";
    answer_automatic: "Ce message est automatique : il n’est pas possible d’y répondre.",
                      "This is an automatic message: it cannot be answered.";
    answer_untrusted: "L’adresse de l’expéditeur n’est pas dans l’espace de confiance : il n’est pas possible de lui répondre.",
                      "The sender’s address is not in the trust space: it cannot be answered.";
    answer_empty: "Écrivez votre message avant de l’envoyer.", "Write your message before you send it.";
    answer_text_long: "Votre message est trop long. Raccourcissez-le, ou joignez un fichier.",
                      "Your message is too long. Shorten it, or attach a file.";
    answer_too_large: "Vos pièces jointes dépassent la taille permise. Retirez-en, puis envoyez de nouveau.",
                      "Your attachments are over the allowed size. Remove some, then send again.";
    answer_too_many: "Il y a trop de pièces jointes. Retirez-en, puis envoyez de nouveau.",
                     "There are too many attachments. Remove some, then send again.";
    answer_kept_title: "Votre session est terminée", "Your session has ended";
    answer_kept: "Votre réponse n’a pas été envoyée. Copiez votre texte, connectez-vous de nouveau, puis rouvrez le message.",
                 "Your answer was not sent. Copy your text, log in again, then reopen the message.";
    answer_files_again: "Choisissez de nouveau vos pièces jointes : le navigateur ne peut pas les garder.",
                        "Choose your attachments again: the browser cannot keep them.";

    // Refusals.
    refused_later: "Votre réponse n’a pas pu être envoyée pour le moment. Recommencez dans quelques minutes ; votre texte est conservé ci-dessous.",
                   "Your answer could not be sent at the moment. Try again in a few minutes; your text is kept below.";
    refused_recipient: "Cette boîte aux lettres n’existe plus ou n’accepte plus de messages. Votre réponse n’a pas été envoyée.",
                       "This mailbox no longer exists or no longer accepts messages. Your answer was not sent.";
    refused_no_key: "Les messages pour ce destinataire partent chiffrés, et son certificat OpenPGP n’est pas connu ici. Demandez à l’administrateur de l’importer ; votre texte est conservé ci-dessous.",
                    "Messages to this recipient leave encrypted only, and no OpenPGP certificate of theirs is known here. Ask the administrator to import it; your text is kept below.";
    refused_full: "La boîte aux lettres du destinataire est pleine. Recommencez plus tard ; votre texte est conservé ci-dessous.",
                  "The recipient’s mailbox is full. Try again later; your text is kept below.";
    refused_domain: "L’adresse du destinataire n’est pas dans l’espace de confiance. Votre réponse n’a pas été envoyée.",
                    "The recipient’s address is not in the trust space. Your answer was not sent.";
    refused_other: "Votre réponse a été refusée et n’a pas été envoyée. Votre texte est conservé ci-dessous.",
                   "Your answer was refused and was not sent. Your text is kept below.";

    // Error pages.
    error_400_title: "Demande incomprise", "Request not understood";
    error_400: "Votre navigateur a envoyé une demande que ce site ne comprend pas. Revenez à l’accueil et recommencez.",
               "Your browser sent a request that this site does not understand. Go back home and try again.";
    error_403_title: "Demande refusée", "Request refused";
    error_403: "Cette demande ne vient pas d’une page de ce site, ou votre session a changé. Rouvrez la page et recommencez.",
               "This request does not come from a page of this site, or your session has changed. Open the page again and retry.";
    error_404_title: "Page introuvable", "Page not found";
    error_404: "Cette page n’existe pas ou n’existe plus.", "This page does not exist, or not any more.";
    error_405_title: "Méthode non permise", "Method not allowed";
    error_405: "Cette page ne peut pas être demandée de cette façon.",
               "This page cannot be requested in this way.";
    error_408_title: "Délai dépassé", "Time is up";
    error_408: "La demande a pris trop de temps. Recommencez.", "The request took too long. Try again.";
    error_413_title: "Envoi trop volumineux", "Too large";
    error_413: "Ce que vous avez envoyé dépasse la taille permise. Revenez en arrière, retirez des pièces jointes, puis recommencez.",
               "What you sent is over the allowed size. Go back, remove attachments, then try again.";
    error_500_title: "Service momentanément indisponible", "Service unavailable for a moment";
    error_500: "Le service ne peut pas répondre pour le moment. Recommencez dans quelques minutes. Aucun message n’est perdu.",
               "The service cannot answer at the moment. Try again in a few minutes. No message is lost.";

    // Dashboard.
    admin_mailboxes: "Boîtes aux lettres", "Mailboxes";
    mailboxes_title: "Boîtes aux lettres", "Mailboxes";
    mailboxes_search: "Adresse ou nom", "Address or name";
    mailboxes_state: "État", "State";
    mailboxes_any: "Tous", "All";
    mailboxes_find: "Chercher", "Search";
    mailboxes_address: "Adresse", "Address";
    mailboxes_listing: "Publication", "Listing";
    mailboxes_public: "publiée", "public";
    mailboxes_red_list: "liste rouge", "red list";
    mailboxes_last_login: "Dernière connexion", "Last login";
    mailboxes_unknown: "inconnue", "unknown";
    mailboxes_never: "jamais", "never";
    mailboxes_notices: "Avis envoyés", "Notices";
    mailboxes_notice: "Avis d’inactivité", "Notice of inactivity";
    mailboxes_none: "Aucune boîte ne correspond.", "No mailbox fits.";
    mailboxes_more: "Suite", "More";
    mailboxes_pages: "Pages de la liste", "Pages of the list";
    mailboxes_since: "Depuis", "Since";
    mailboxes_until: "Contenu détruit après", "Contents destroyed after";
    mailboxes_actions: "Agir", "Act";
    mailboxes_reason: "Motif", "Reason";
    mailboxes_reason_hint: "Il est gardé dans le journal et dans l’historique. N’y nommez pas de patient.",
                           "It is kept in the journal and in the history. Name no patient.";
    mailboxes_reason_missing: "Donnez un motif.", "Give a reason.";
    mailboxes_sure: "Je confirme la fermeture ou la destruction", "I confirm the closing or the destruction";
    mailboxes_not_sure: "Cochez la confirmation pour fermer ou détruire.", "Tick the confirmation to close or destroy.";
    mailboxes_done: "C’est fait.", "Done.";
    mailboxes_waits: "La demande attend un second administrateur.", "It waits for a second administrator.";
    undone_closed: "La boîte est fermée : son contenu n’existe plus, et son adresse n’est donnée à personne.",
                   "The mailbox is closed: its contents are gone, and its address is given to nobody.";
    undone_not_from: "Cela ne suit pas : l’état de la boîte est « {} ».", "That does not follow: the state of the mailbox is “{}”.";
    undone_already: "C’est déjà le cas.", "It is so already.";
    undone_not_by_hand: "Aucun administrateur ne fait cela à la main.", "No administrator does that by hand.";
    undone_not_by_holder: "Seul un administrateur fait cela.", "Only an administrator does that.";
    undone_not_by_clock: "Cela ne se fait pas tout seul.", "That is not done by the clock.";
    undone_too_early: "La fermeture peut encore être annulée jusqu’au {}.", "The closing may be undone until {}.";
    undone_too_late: "La fermeture pouvait être annulée jusqu’au {}.", "The closing could be undone until {}.";
    undone_patient: "Cela ne se fait pas à la messagerie d’un patient.", "That is not done to a patient’s inbox.";
    undone_no_mailbox: "Cette boîte n’existe pas.", "There is no such mailbox.";
    undone_restless: "La boîte change trop vite en ce moment. Recommencez.", "The mailbox changes too fast right now. Try again.";
    undone_too_many_petitions: "Trop de demandes attendent. Répondez d’abord à quelques-unes.",
                               "Too many requests wait. Answer some of them first.";
    undone_own_petition: "Personne n’approuve sa propre demande : il faut un autre administrateur.",
                         "Nobody approves their own request: it takes another administrator.";
    undone_no_petition: "Cette demande n’existe pas, ou plus.", "There is no such request, or no more.";
    undone_done: "Cette demande est déjà exécutée.", "This request is done already.";
    undone_refused: "Cette demande est déjà refusée.", "This request is refused already.";
    undone_over: "Le délai de cette demande est passé.", "The time of this request is over.";
    undone_meanwhile: "Quelqu’un d’autre a répondu au même moment.", "Somebody else answered at the same moment.";
    undone_retained: "Une règle conserve les messages ici (mailboxes.retention_seconds).",
                     "A rule keeps letters here (mailboxes.retention_seconds).";
    undone_letter_gone: "Le contenu de ce message n’existe déjà plus.", "The content of this letter is gone already.";
    undone_to_itself: "Une boîte n’est pas déléguée à elle-même.", "A mailbox is not delegated to itself.";
    undone_no_rights: "Il faut donner au moins un droit.", "At least one right is granted.";
    undone_end_in_past: "La fin de la délégation est passée.", "The end of the delegation lies in the past.";
    undone_patients_inbox: "Personne d’autre ne lit la messagerie d’un patient.", "Nobody else reads a patient’s inbox.";
    undone_holder_of_patient: "La messagerie d’un patient n’a pas de titulaire.", "A patient’s inbox has no holder.";
    undone_holder_has_one: "Une boîte PER a un seul titulaire, et elle en a déjà un.", "A mailbox PER has one holder, and has one already.";
    undone_holder_too_many: "Trop de titulaires pour cette boîte, ou trop de boîtes pour ce titulaire.",
                            "Too many holders of this mailbox, or mailboxes of this holder.";
    undone_holder_already: "Ce professionnel est déjà titulaire de la boîte.", "This professional holds the mailbox already.";
    undone_holder_none: "Ce professionnel n’est pas titulaire de la boîte.", "This professional does not hold the mailbox.";
    undone_failed: "Le relais n’a pas pu le faire ; son journal technique dit pourquoi.", "The relay could not do it; its log says why.";
    what_close: "Fermer {}", "Close {}";
    what_delete: "Détruire le contenu de {}", "Destroy what is in {}";
    what_factors: "Oublier la double authentification de {}", "Forget the two-step login of {}";
    what_grant: "Donner à {} les droits {} dans {}", "Let {} do {} in {}";
    what_until: "jusqu’au {}", "until {}";
    what_without_end: "sans date de fin", "without end";
    what_bulk: "Créer {} boîtes à partir de {}", "Make {} mailboxes from {}";
    what_holder: "{} devient titulaire de {}", "{} becomes holder of {}";
    what_no_holder: "{} n’est plus titulaire de {}", "{} no longer holds {}";
    what_shred_letter: "Détruire le message {}", "Destroy the letter {}";
    what_shred_place: "Détruire le message {} du dossier {} de {}", "Destroy message {} of folder {} in {}";
    what_shred_mailbox: "Détruire tout de suite la boîte {}", "Destroy the mailbox {} at once";
    what_although_held: ", bien qu’une règle le conserve", ", although a rule holds it";
    mailboxes_factors: "Double authentification", "Two-step login";
    mailboxes_factors_reset: "Oublier la double authentification", "Forget the two-step login";
    mailboxes_factors_codes: "codes à usage unique", "one-time codes";
    mailboxes_factors_passkeys: "clés d’accès :", "passkeys:";
    mailboxes_refused: "Refusé, rien n’a changé.", "Refused; nothing was changed.";
    mailboxes_not_yours: "Votre réponse à cette demande n’a pas abouti.", "Your answer to this request did not succeed.";
    mailboxes_history: "Historique", "History";
    mailboxes_no_history: "La boîte est plus ancienne que ces relevés.", "The mailbox is older than these records.";
    mailboxes_when: "Quand", "When";
    mailboxes_who: "Qui", "Who";
    mailboxes_what: "Quoi", "What";
    approvals_title: "Attend un second administrateur", "Waits for a second administrator";
    approvals_approve: "Approuver", "Approve";
    approvals_refuse: "Refuser", "Refuse";
    stage_requested: "demandée", "requested";
    stage_active: "active", "active";
    stage_notified: "avertie (inactive)", "notified (unused)";
    stage_suspended: "suspendue", "suspended";
    stage_closing: "en fermeture", "closing";
    stage_closed: "fermée", "closed";
    step_request: "Demander", "Request";
    step_activate: "Ouvrir", "Activate";
    step_hide: "Mettre en liste rouge", "Hide";
    step_show: "Publier", "Show";
    step_notice: "Avertir", "Notify";
    step_oppose: "Garder", "Keep";
    step_suspend: "Suspendre", "Suspend";
    step_resume: "Reprendre", "Resume";
    step_close: "Fermer", "Close";
    step_undo_close: "Annuler la fermeture", "Undo the closing";
    step_delete: "Détruire maintenant", "Destroy now";
    admin_title: "Tableau de bord", "Dashboard";
    admin_period: "Période", "Period";
    admin_today: "Aujourd’hui", "Today";
    admin_week: "7 jours", "7 days";
    admin_month: "30 jours", "30 days";
    admin_activity: "Activité", "Activity";
    admin_unit: "Envoyés et reçus comptent un message par destinataire ; acceptés compte un message par lettre.",
                "Sent and received count one message per recipient; accepted counts one per letter.";
    admin_accepted: "Acceptés", "Accepted";
    admin_sent: "Envoyés", "Sent";
    admin_received: "Reçus", "Received";
    admin_refused: "Refusés", "Refused";
    admin_relayed: "Relayés", "Relayed";
    admin_deferred: "Différés", "Deferred";
    admin_failed: "Échoués", "Failed";
    admin_chart: "Messages par jour", "Messages by day";
    admin_chart_text: "Diagramme en barres des messages envoyés, reçus et refusés par jour. Les mêmes chiffres sont dans le tableau « Par jour ».",
                      "Bar chart of messages sent, received and refused by day. The same figures are in the table “By day”.";
    admin_by_day: "Par jour", "By day";
    admin_by_domain: "Par domaine", "By domain";
    admin_by_kind: "Par type de boîte", "By mailbox kind";
    admin_by_counterpart: "Par correspondant", "By counterpart";
    admin_reasons: "Motifs de refus, de report et d’échec", "Reasons of refusals, deferrals and failures";
    admin_day: "Jour", "Day";
    admin_domain: "Domaine", "Domain";
    admin_kind: "Type de boîte", "Mailbox kind";
    admin_counterpart: "Correspondant", "Counterpart";
    admin_event: "Événement", "Event";
    admin_reason: "Motif", "Reason";
    admin_count: "Nombre", "Count";
    admin_nothing: "Aucun message sur cette période.", "No message in this period.";
    admin_csv: "Télécharger les chiffres (CSV)", "Download the figures (CSV)";
    admin_here: "Ce relais", "This relay";
    admin_other_operator: "Autre opérateur", "Other operator";
    admin_patient: "Patient", "Patient";
    admin_unknown: "Inconnu", "Unknown";
    admin_kind_per: "PER – professionnel", "PER – professional";
    admin_kind_org: "ORG – organisation", "ORG – organisation";
    admin_kind_app: "APP – application", "APP – application";
    admin_kind_cab: "CAB – cabinet", "CAB – practice";
    admin_kind_ctn: "Patient", "Patient";
    admin_health: "État du relais", "State of the relay";
    admin_queue: "File d’attente", "Queue";
    admin_queue_empty: "vide", "empty";
    admin_queue_oldest: "le plus ancien depuis", "the oldest for";
    admin_trust: "Liste de confiance", "Trust list";
    admin_trust_domains: "domaines, publiée il y a", "domains, published";
    admin_trust_ago: "", "ago";
    admin_certificate_people: "Certificat des accès utilisateurs", "Certificate of the users’ doors";
    admin_certificate_mx: "Certificat entre opérateurs", "Certificate between operators";
    admin_expires: "expire dans", "expires in";
    admin_expired: "expiré !", "expired!";
    admin_unreadable: "illisible", "cannot be read";
    admin_sessions: "Sessions ouvertes", "Open sessions";
    admin_web_logins: "Connexions aux pages", "Logins to the pages";
    admin_version: "Version", "Version";
    admin_soon: "à renouveler", "renew soon";
    admin_directory: "Annuaire national", "National directory";
    admin_directory_copy: "Copie locale", "Local copy";
    admin_directory_none: "aucune importation", "nothing was imported";
    admin_directory_closed: "illisible : voir le journal", "does not open: see the log";
    admin_directory_rows: "lignes", "rows";
    admin_directory_addresses: "boîtes", "mailboxes";
    admin_directory_age: "Âge", "Age";
    admin_directory_old: "trop ancienne", "too old";
    admin_directory_refresh: "Dernière actualisation", "Last refresh";
    admin_directory_never: "jamais depuis le démarrage", "never since the start";
    admin_directory_well: "réussie il y a", "succeeded, this long ago:";
    admin_directory_failed: "échec il y a", "failed, this long ago:";
    admin_directory_failing: "échec", "failed";
    admin_directory_drift: "Écarts avec nos boîtes", "Differences from our mailboxes";
    admin_directory_drift_how: "à voir avec « vaguemestre directory drift »", "see `vaguemestre directory drift`";
    admin_logins: "Connexions des dernières 24 heures (au plus tôt depuis le démarrage)", "Logins of the last 24 hours (since the start at the earliest)";
    admin_logins_door: "Accès", "Door";
    admin_logins_means: "Moyen", "Means";
    admin_logins_result: "Résultat", "Result";
    admin_logins_none: "Aucune connexion.", "No logins.";
    unit_recipients: "destinataires en attente", "recipients waiting";
    unit_day: "jour", "day";
    unit_days: "jours", "days";
    unit_hours: "h", "h";
    unit_minutes: "min", "min";
    unit_octets: "octets", "bytes";
    unit_kilo: "Ko", "KB";
    unit_mega: "Mo", "MB";
}

impl Texts {
    /// What a patient reads when the relay said no to an answer.
    pub fn refusal(&self, refusal: Refusal) -> &'static str {
        match refusal {
            Refusal::PatientMayOnlyAnswer => self.answer_closed,
            Refusal::MessageTooLarge => self.answer_too_large,
            Refusal::MailboxUnknown
            | Refusal::MailboxSuspended
            | Refusal::PatientAddressInvalid
            | Refusal::RecipientKeyMissing => self.refused_recipient,
            Refusal::OutsideKeyMissing => self.refused_no_key,
            Refusal::MailboxFull => self.refused_full,
            Refusal::DomainNotTrusted | Refusal::RelayDenied => self.refused_domain,
            Refusal::Busy
            | Refusal::TooManyFromPeer
            | Refusal::StoreFailed
            | Refusal::StoreFull
            | Refusal::DependencyFailed
            | Refusal::DirectoryAway
            | Refusal::Stopping => self.refused_later,
            _ => self.refused_other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_the_browser_likes_best_is_chosen() {
        for (header, lang) in [
            ("", Lang::Fr),
            ("de-DE,de;q=0.9", Lang::Fr),
            ("en-US,en;q=0.9,fr;q=0.8", Lang::En),
            ("fr-FR,fr;q=0.9,en;q=0.8", Lang::Fr),
            ("de,fr;q=0.2,en;q=0.7", Lang::En),
            ("en;q=0", Lang::Fr),
            ("en;q=NaN", Lang::Fr),
            (",,;;q=,en;q=7", Lang::Fr),
        ] {
            assert_eq!(Lang::accepted(header), lang, "{header:?}");
        }
    }
}
