//! Master keys in hardware, by PKCS #11 (v2.40, OASIS).
//!
//! The token's AES key never leaves it. For each version there is a random key-encryption key of
//! 32 octets; the token seals it with AES-GCM and its sealed form is a row. So the token is asked
//! at starts and rotations, never for a letter, and it may be away in between.
use std::sync::Mutex;
use std::sync::PoisonError;

use cryptoki::context::CInitializeArgs;
use cryptoki::context::CInitializeFlags;
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::MechanismType;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::Attribute;
use cryptoki::object::AttributeType;
use cryptoki::object::KeyType;
use cryptoki::object::ObjectClass;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki::session::UserType;
use cryptoki::slot::Slot;
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;
use crate::infra::keys::KeyError;
use crate::infra::keys::master::MASTER_OCTETS;
use crate::infra::keys::master::MasterOctets;
use crate::infra::keys::master::file;
use crate::proto::key_source::TokenUri;

/// First octet of what a token sealed; another number is another mechanism.
const FORMAT_GCM: u8 = 1;
const IV_OCTETS: usize = 12;
const TAG_BITS: u64 = 128;

/// A module is initialised once in a process, and its login is the process's: one at a time.
static MODULES: Mutex<()> = Mutex::new(());

/// A key in a token that was there, and opened, when we looked.
pub(super) struct Token {
    uri: Box<TokenUri>,
}

impl Token {
    /// Looks whether module, token, PIN and key are there and fit.
    pub(super) fn find(uri: &TokenUri) -> Result<Self, KeyError> {
        with_key(uri, |_, _| Ok(()))?;
        Ok(Self { uri: Box::new(uri.clone()) })
    }

    /// Seals the key of a version.
    pub(super) fn seal(&self, context: &[u8], key: &MasterOctets) -> Result<Vec<u8>, KeyError> {
        with_key(&self.uri, |session, handle| {
            let mut iv = [0; IV_OCTETS];
            crate::infra::keys::fill_random(&mut iv);
            let parameters = GcmParams::new(&mut iv, context, TAG_BITS.into());
            let mechanism = Mechanism::AesGcm(parameters.map_err(|e| failed(&self.uri, &e))?);
            let sealed = session.encrypt(&mechanism, handle, key.expose());
            let sealed = sealed.map_err(|error| failed(&self.uri, &error))?;
            // Some modules choose the nonce themselves and write it back.
            let mut row = vec![FORMAT_GCM];
            row.extend_from_slice(&iv);
            row.extend_from_slice(&sealed);
            Ok(row)
        })
    }

    /// Opens the key of a version; `None` when another key sealed it.
    pub(super) fn open(
        &self,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Option<MasterOctets>, KeyError> {
        let Some((&FORMAT_GCM, rest)) = sealed.split_first() else { return Ok(None) };
        let Some((iv, body)) = rest.split_first_chunk::<IV_OCTETS>() else { return Ok(None) };
        with_key(&self.uri, |session, handle| {
            let mut iv = *iv;
            let parameters = GcmParams::new(&mut iv, context, TAG_BITS.into());
            let mechanism = Mechanism::AesGcm(parameters.map_err(|e| failed(&self.uri, &e))?);
            match session.decrypt(&mechanism, handle, body).map(Zeroizing::new) {
                Ok(mut clear) if clear.len() == MASTER_OCTETS => {
                    Ok(Some(Secret::new(std::mem::take(&mut *clear))))
                }
                Ok(_) => Ok(None),
                Err(error) if is_wrong_key(&error) => Ok(None),
                Err(error) => Err(failed(&self.uri, &error)),
            }
        })
    }
}

/// Makes the key that the URI names.
pub(super) fn make_key(uri: &TokenUri) -> Result<(), KeyError> {
    let Some(label) = &uri.object else {
        return Err(refused(uri, "object=LABEL names the key that is to be made"));
    };
    with_session(uri, true, |session, _| {
        if !find(uri, session)?.is_empty() {
            return Err(refused(uri, "a key of this name is there already; nothing was made"));
        }
        let mut template = vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::ValueLen((MASTER_OCTETS as u64).into()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        if let Some(id) = &uri.id {
            template.push(Attribute::Id(id.clone()));
        }
        let made = session.generate_key(&Mechanism::AesKeyGen, &template);
        made.map(|_| ()).map_err(|error| failed(uri, &error))
    })
}

/// Does something with the one key that the URI names.
fn with_key<T>(
    uri: &TokenUri,
    work: impl FnOnce(&Session, ObjectHandle) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    with_session(uri, false, |session, mechanisms| {
        if !mechanisms.contains(&MechanismType::AES_GCM) {
            return Err(refused(uri, "the token does not offer CKM_AES_GCM, which seals the key"));
        }
        let key = match find(uri, session)?.as_slice() {
            [key] => *key,
            [] => {
                return Err(refused(
                    uri,
                    "the token has no such AES key; `vaguemestre keys master init-token` makes it",
                ));
            }
            _ => return Err(refused(uri, "several keys have this name; add id=%XX… of one")),
        };
        let extractable = session.get_attributes(key, &[AttributeType::Extractable]);
        if matches!(extractable.as_deref(), Ok([Attribute::Extractable(true)])) {
            tracing::warn!(key = uri.as_str(), "the token lets this key out (CKA_EXTRACTABLE)");
        }
        work(session, key)
    })
}

fn find(uri: &TokenUri, session: &Session) -> Result<Vec<ObjectHandle>, KeyError> {
    let mut template =
        vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
    template.extend(uri.object.iter().map(|label| Attribute::Label(label.as_bytes().to_vec())));
    template.extend(uri.id.iter().map(|id| Attribute::Id(id.clone())));
    session.find_objects(&template).map_err(|error| failed(uri, &error))
}

/// Opens the module, the token and a session; logs in; leaves all as it was afterwards.
fn with_session<T>(
    uri: &TokenUri,
    writes: bool,
    work: impl FnOnce(&Session, &[MechanismType]) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    let _one_at_a_time = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    let module = Pkcs11::new(&uri.module_path).map_err(|error| {
        let path = uri.module_path.display();
        refused(uri, &format!("module-path: {path} cannot be loaded: {error}"))
    })?;
    let ours = match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) => true,
        // Another part of this process uses it.
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => false,
        Err(error) => return Err(failed(uri, &error)),
    };
    let outcome = in_module(uri, &module, writes, work);
    if ours {
        // Also ends the login: nobody finds an open token in our memory.
        let _ = module.finalize();
    }
    outcome
}

fn in_module<T>(
    uri: &TokenUri,
    module: &Pkcs11,
    writes: bool,
    work: impl FnOnce(&Session, &[MechanismType]) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    let told = |error: Error| failed(uri, &error);
    let (slot, token) = slot_of(uri, module)?;
    let session = match writes {
        true => module.open_rw_session(slot).map_err(told)?,
        false => module.open_ro_session(slot).map_err(told)?,
    };
    if token.login_required() {
        log_in(uri, &token, &session)?;
    }
    let mechanisms = module.get_mechanism_list(slot).map_err(told)?;
    work(&session, &mechanisms)
}

fn slot_of(uri: &TokenUri, module: &Pkcs11) -> Result<(Slot, TokenInfo), KeyError> {
    let slots = module.get_slots_with_initialized_token().map_err(|error| failed(uri, &error))?;
    let mut found = Vec::new();
    let mut labels = Vec::new();
    for slot in slots {
        let Ok(token) = module.get_token_info(slot) else { continue };
        let is = |wanted: &Option<String>, there: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == there.trim_end())
        };
        let fits = is(&uri.token, token.label())
            && is(&uri.serial, token.serial_number())
            && is(&uri.manufacturer, token.manufacturer_id())
            && is(&uri.model, token.model())
            && uri.slot_id.is_none_or(|id| id == slot.id());
        labels.push(format!("{:?}", token.label().trim_end()));
        if fits {
            found.push((slot, token));
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 if labels.is_empty() => Err(refused(uri, "the module shows no token")),
        0 => Err(refused(uri, &format!("no such token; there are {}", labels.join(", ")))),
        _ => Err(refused(uri, "several tokens have this name; add serial=… of one")),
    }
}

fn log_in(uri: &TokenUri, token: &TokenInfo, session: &Session) -> Result<(), KeyError> {
    let Some(file) = &uri.pin_source else {
        return Err(refused(uri, "the token wants a PIN: name its file by pin-source=file:/path"));
    };
    if token.user_pin_locked() {
        return Err(refused(uri, "the token's PIN is locked; its security officer unlocks it"));
    }
    // A service that is started again and again with a wrong PIN must not be what locks it.
    if token.user_pin_final_try() {
        return Err(refused(
            uri,
            "one more wrong PIN locks the token, so it is not tried: log in once by hand",
        ));
    }
    let pin = file::pin(file)?;
    let pin = AuthPin::from(pin.expose().as_str());
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
            _,
        )) => Err(refused(uri, &format!("the PIN in {} is wrong", file.display()))),
        Err(Error::Pkcs11(RvError::PinLocked, _)) => {
            Err(refused(uri, "the token's PIN is locked; its security officer unlocks it"))
        }
        Err(error) => Err(failed(uri, &error)),
    }
}

/// What modules say of a text that another key sealed: they do not agree.
fn is_wrong_key(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::DataInvalid
                | RvError::GeneralError
                | RvError::FunctionFailed,
            _
        )
    )
}

fn failed(uri: &TokenUri, error: &Error) -> KeyError {
    refused(uri, &error.to_string())
}

fn refused(uri: &TokenUri, reason: &str) -> KeyError {
    KeyError::Master(format!("{}: {reason}", uri.as_str()))
}
