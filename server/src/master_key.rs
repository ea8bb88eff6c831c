//! The one secret of a server, from which the keys of all seals are derived.
//!
//! What is sealed travels through clients (page tokens, later tickets) and comes
//! back: nobody can read or change it. Each purpose has a key of its own.

use std::{fmt, fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};

const KEY_BYTES: usize = 32;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file cannot be read or written.
    #[error("master key {path}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The key has another length.
    #[error("the master key must have {KEY_BYTES} bytes in base64url")]
    Length,
}

/// 32 secret bytes.
pub struct MasterKey {
    secret: hkdf::Prk,
    id: [u8; 4],
}

impl MasterKey {
    /// Reads a key from text: 32 bytes in base64url without padding.
    pub fn from_text(text: &str) -> Result<Self, MasterKeyError> {
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(text.trim())
            .map_err(|_| MasterKeyError::Length)?;
        let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| MasterKeyError::Length)?;
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"artifactd master key").extract(&bytes);
        let mut id = [0; 4];
        id.copy_from_slice(&derive(&secret, "key id")[..4]);
        Ok(Self { secret, id })
    }

    /// Reads the key in a file, making one that only its owner can read where there is none.
    pub fn open(path: &Path) -> Result<Self, MasterKeyError> {
        let failed = |source| MasterKeyError::File {
            path: path.display().to_string(),
            source,
        };
        match fs::read_to_string(path) {
            Ok(text) => Self::from_text(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = BASE64_URL_SAFE_NO_PAD.encode(crate::registry::random::<KEY_BYTES>());
                write_secret(path, &text).map_err(failed)?;
                Self::from_text(&text)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The seal of one purpose.
    pub fn sealer(&self, purpose: &str) -> Sealer {
        let key = UnboundKey::new(&AES_256_GCM, &derive(&self.secret, purpose)).expect("the key has the right length");
        Sealer {
            key: LessSafeKey::new(key),
            key_id: self.id,
        }
    }
}

fn derive(secret: &hkdf::Prk, purpose: &str) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let info = [purpose.as_bytes()];
    let expanded = secret
        .expand(&info, hkdf::HKDF_SHA256)
        .expect("one block is never too long");
    expanded.fill(&mut key).expect("the length is that of the algorithm");
    key
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Seals and opens texts of one purpose.
pub struct Sealer {
    key: LessSafeKey,
    key_id: [u8; 4],
}

impl Sealer {
    /// Seals some bytes: id of the key, nonce, encrypted bytes, in base64url.
    pub fn seal(&self, plain: &[u8]) -> String {
        let nonce: [u8; NONCE_LEN] = crate::registry::random();
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(self.key_id), &mut sealed)
            .expect("page tokens are short");
        BASE64_URL_SAFE_NO_PAD.encode([&self.key_id[..], &nonce, &sealed].concat())
    }

    /// What was sealed; `None` for anything that this key did not seal.
    pub fn open(&self, text: &str) -> Option<Vec<u8>> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (key_id, rest) = bytes.split_at_checked(self.key_id.len())?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        if key_id != self.key_id {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(self.key_id), &mut sealed)
            .ok()?;
        Some(plain.to_vec())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MasterKey {
        MasterKey::from_text(&BASE64_URL_SAFE_NO_PAD.encode([byte; KEY_BYTES])).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_under_the_same_key_and_purpose_only() {
        let sealed = key(1).sealer("page").seal(b"place");
        assert_eq!(key(1).sealer("page").open(&sealed).unwrap(), b"place");
        assert_eq!(key(1).sealer("other").open(&sealed), None);
        assert_eq!(key(2).sealer("page").open(&sealed), None);
    }

    #[test]
    fn no_changed_or_cut_text_opens() {
        let sealer = key(1).sealer("page");
        let sealed = sealer.seal(b"place");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sealer.open(std::str::from_utf8(&changed).unwrap()), None, "at {at}");
            assert_eq!(sealer.open(&sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let sealed = MasterKey::open(&path).unwrap().sealer("page").seal(b"x");
        assert_eq!(
            MasterKey::open(&path).unwrap().sealer("page").open(&sealed).unwrap(),
            b"x"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(matches!(MasterKey::open(&path), Err(MasterKeyError::Length)));
    }
}
