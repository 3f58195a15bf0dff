//! Seals key files with AES-256-GCM under one key that is kept elsewhere.
//!
//! A sealed file is `TPK`, a version byte, 8 bytes that name the seal key, 12 bytes of nonce, then the ciphertext with
//! its tag. The file's name and all that comes before the nonce are authenticated too, so that no file can take
//! another's place.

use super::{KeyError, directory};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use std::path::Path;
use taskpass_types::Secret;
use zeroize::{Zeroize, Zeroizing};

const MAGIC: &[u8; 3] = b"TPK";
const VERSION: u8 = 1;
const KEY_NAME_LEN: usize = 8;
const HEADER_LEN: usize = MAGIC.len() + 1 + KEY_NAME_LEN;
const KEY_LEN: usize = 32;
/// More than the longest text form of a key with its line end.
const MAX_SEAL_FILE_BYTES: u64 = 256;

/// The key that seals the key directory: 32 bytes that live somewhere else than it.
#[derive(Clone)]
pub struct SealKey(Secret<[u8; KEY_LEN]>);

impl SealKey {
    /// Reads 32 bytes, or their hex or base64, from a file that only its owner may read.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let content = directory::read_private(path, MAX_SEAL_FILE_BYTES)?;
        Self::parse(&content, &format!("`{}`", path.display()))
    }

    /// Parses the hex or base64 of 32 bytes, as an environment variable can hold it.
    pub fn from_env_value(value: &str) -> Result<Self, KeyError> {
        Self::parse_text(value.trim().as_bytes())
            .ok_or_else(|| invalid("the environment variable", "it is not the hex or base64 of 32 bytes"))
            .and_then(|key| Self::checked(key, "the environment variable"))
    }

    /// Reads the credential `name` that systemd put into `dir`, its `$CREDENTIALS_DIRECTORY`.
    pub fn from_credentials_dir(dir: &Path, name: &str) -> Result<Self, KeyError> {
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(invalid(&format!("`{name}`"), "it is not the name of a credential"));
        }
        let path = dir.join(name);
        let content = directory::read_credential(&path, MAX_SEAL_FILE_BYTES)?;
        Self::parse(&content, &format!("`{}`", path.display()))
    }

    /// Makes a new key and writes it, in base64, to a new file that only its owner may read.
    pub fn generate_file(path: &Path) -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        SystemRandom::new().fill(key.as_mut()).map_err(|_| KeyError::Primitive("random numbers".into()))?;
        let mut text = Zeroizing::new(STANDARD.encode(key.as_ref()));
        text.push('\n');
        directory::create_private(path, text.as_bytes())?;
        Ok(Self(Secret::new(*key)))
    }

    fn parse(content: &[u8], source_name: &str) -> Result<Self, KeyError> {
        let key = match <[u8; KEY_LEN]>::try_from(content) {
            Ok(raw) => Some(Zeroizing::new(raw)),
            Err(_) => Self::parse_text(content.trim_ascii()),
        };
        let key = key.ok_or_else(|| invalid(source_name, "it is not 32 bytes, nor their hex or base64"))?;
        Self::checked(key, source_name)
    }

    fn parse_text(text: &[u8]) -> Option<Zeroizing<[u8; KEY_LEN]>> {
        if text.len() == 2 * KEY_LEN {
            return hex(text);
        }
        let decoded = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
            .iter()
            .find_map(|engine| engine.decode(text).ok())
            .map(Zeroizing::new)?;
        decoded.as_slice().try_into().ok().map(Zeroizing::new)
    }

    /// Refuses what a placeholder or a truncated pipe leaves behind.
    fn checked(key: Zeroizing<[u8; KEY_LEN]>, source_name: &str) -> Result<Self, KeyError> {
        if key.iter().all(|byte| Some(byte) == key.first()) {
            return Err(invalid(source_name, "all its bytes are the same"));
        }
        Ok(Self(Secret::new(*key)))
    }

    /// Tells one seal key from another without telling anything about it.
    fn name(&self) -> [u8; KEY_NAME_LEN] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        let tag = hmac::sign(&key, b"taskpass seal key name");
        let mut name = [0; KEY_NAME_LEN];
        name.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        name
    }

    fn cipher(&self) -> Result<LessSafeKey, KeyError> {
        UnboundKey::new(&AES_256_GCM, self.0.expose())
            .map(LessSafeKey::new)
            .map_err(|_| KeyError::Primitive("AES-256-GCM".into()))
    }

    /// Seals `plain` for the file of this name.
    pub(super) fn seal(&self, file_name: &str, plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyError::Primitive("random numbers".into()))?;
        let mut sealed = [&MAGIC[..], &[VERSION], &self.name()].concat();
        let aad = Aad::from([&sealed, file_name.as_bytes()].concat());
        let mut content = plain.to_vec();
        let outcome =
            self.cipher()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut content);
        if outcome.is_err() {
            content.zeroize();
            return Err(KeyError::Primitive("AES-256-GCM".into()));
        }
        sealed.extend(nonce);
        sealed.append(&mut content);
        Ok(sealed)
    }

    /// Opens what [`SealKey::seal`] made for the file `path`.
    pub(super) fn open(&self, path: &Path, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let damaged = |why| KeyError::Damaged { file: path.to_owned(), why };
        let (header, rest) = sealed.split_at_checked(HEADER_LEN).ok_or_else(|| damaged("it is cut"))?;
        let (nonce, content) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(|| damaged("it is cut"))?;
        match header.strip_prefix(MAGIC).and_then(|rest| rest.split_first()) {
            Some((&VERSION, name)) if name == self.name() => {}
            Some((&VERSION, _)) => return Err(KeyError::SealKeyWrong { file: path.to_owned() }),
            Some((&version, _)) => return Err(KeyError::VersionUnknown { file: path.to_owned(), version }),
            None => return Err(damaged("it is no key file")),
        }
        let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let aad = Aad::from([header, file_name.as_bytes()].concat());
        let mut content = Zeroizing::new(content.to_vec());
        let len = self
            .cipher()?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut content)
            .map_err(|_| damaged("its seal is broken"))?
            .len();
        content.truncate(len);
        Ok(content)
    }
}

fn invalid(source_name: &str, why: &'static str) -> KeyError {
    KeyError::SealKeyInvalid { source_name: source_name.to_owned(), why }
}

fn hex(text: &[u8]) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    for (byte, digits) in key.iter_mut().zip(text.chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(key)
}
