//! Bundles from files, read again whenever the caller asks.

use super::{
    Bundle, Bundles,
    document::{self, DocumentError},
};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::PathBuf,
};
use taskpass_types::TrustDomain;

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// How a bundle file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleFormat {
    /// `CERTIFICATE` blocks.
    Pem,
    /// A SPIFFE bundle document, a JSON Web Key Set.
    Spiffe,
}

/// One configured file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFile {
    /// Whose authorities it holds. Stated by the operator; nothing in the file is believed about it.
    pub trust_domain: TrustDomain,
    /// Where it is.
    pub path: PathBuf,
    /// How it is written.
    pub format: BundleFormat,
}

/// Why a bundle file is not used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is read, but no bundle.
    #[error("bundle `{path}` of trust domain `{domain}`: {error}")]
    Document {
        /// The file.
        path: PathBuf,
        /// Whose.
        domain: TrustDomain,
        /// Why.
        #[source]
        error: DocumentError,
    },
    /// Two files for one trust domain.
    #[error("trust domain `{0}` has two bundle files; put all its authorities into one")]
    Duplicate(TrustDomain),
    /// It cannot be read.
    #[error("bundle `{path}` of trust domain `{domain}` cannot be read: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Whose.
        domain: TrustDomain,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// What one reading of all files did.
#[derive(Debug, Default)]
pub struct Reload {
    /// The trust domains with a new bundle in force.
    pub changed: Vec<TrustDomain>,
    /// The files that were not used; what was in force before still is.
    pub errors: Vec<BundleError>,
}

/// The configured bundle files and the bundles in force from them.
pub struct BundleFiles {
    bundles: Bundles,
    files: Vec<Mutex<Watched>>,
}

struct Watched {
    file: BundleFile,
    /// SHA-256 of the content in force. The files are few and small, so their content is compared: dates and inodes
    /// are wrong on some file systems, and right about an edit only until somebody copies with its dates.
    content: Vec<u8>,
}

impl BundleFiles {
    /// Reads all files; each must be good.
    pub fn load(files: impl IntoIterator<Item = BundleFile>) -> Result<Self, BundleError> {
        let bundles = Bundles::default();
        let mut seen = BTreeSet::new();
        let mut watched = Vec::new();
        for file in files {
            if !seen.insert(file.trust_domain.clone()) {
                return Err(BundleError::Duplicate(file.trust_domain));
            }
            let text = read(&file)?;
            bundles.set(file.trust_domain.clone(), parse(&file, &text)?);
            watched.push(Mutex::new(Watched { content: fingerprint(&text), file }));
        }
        Ok(Self { bundles, files: watched })
    }

    /// The bundles in force; follows every reload.
    pub fn bundles(&self) -> Bundles {
        self.bundles.clone()
    }

    /// Reads all files again; call it every few seconds. A file that is missing or broken changes nothing. Blocks.
    pub fn reload(&self) -> Reload {
        let mut reload = Reload::default();
        for watched in &self.files {
            let watched = &mut *watched.lock();
            match watched.refresh() {
                Ok(Some(bundle)) => {
                    self.bundles.set(watched.file.trust_domain.clone(), bundle);
                    reload.changed.push(watched.file.trust_domain.clone());
                }
                Ok(None) => {}
                Err(error) => reload.errors.push(error),
            }
        }
        reload
    }
}

impl Watched {
    /// The new bundle, when the content is new.
    fn refresh(&mut self) -> Result<Option<Bundle>, BundleError> {
        let text = read(&self.file)?;
        let content = fingerprint(&text);
        if content == self.content {
            return Ok(None);
        }
        let bundle = parse(&self.file, &text)?;
        self.content = content;
        Ok(Some(bundle))
    }
}

fn read(file: &BundleFile) -> Result<Vec<u8>, BundleError> {
    let mut text = Vec::new();
    File::open(&file.path)
        .and_then(|opened| opened.take(MAX_BYTES + 1).read_to_end(&mut text))
        .and_then(|read| {
            if u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES) { Ok(()) } else { Err(too_large()) }
        })
        .map_err(|error| BundleError::Read {
            path: file.path.clone(),
            domain: file.trust_domain.clone(),
            error,
        })?;
    Ok(text)
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB")
}

fn parse(file: &BundleFile, text: &[u8]) -> Result<Bundle, BundleError> {
    let parsed = match file.format {
        BundleFormat::Pem => document::from_pem(text),
        BundleFormat::Spiffe => document::from_json(text),
    };
    parsed.map_err(|error| BundleError::Document {
        path: file.path.clone(),
        domain: file.trust_domain.clone(),
        error,
    })
}

fn fingerprint(text: &[u8]) -> Vec<u8> {
    digest(&SHA256, text).as_ref().to_vec()
}
