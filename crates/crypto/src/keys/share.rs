//! The keys of a fleet: every broker signs with the same ones, which travel sealed.
//!
//! What is shared is each generation's file as it is on disk. Whoever carries it sees nothing, and no file opens under
//! another name or another seal key.

use super::{KeyError, KeyRing, directory::KeyDirectory, generation::Generation};
use serde::{Deserialize, Serialize};
use taskpass_types::KeyGeneration;

/// More than four generations ever take.
const MAX_BYTES: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Shared {
    generations: Vec<(KeyGeneration, Vec<u8>)>,
}

impl KeyRing {
    /// All generations as they are on disk, sealed, for the other brokers of the fleet.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn to_sealed(&self) -> Result<Vec<u8>, KeyError> {
        let _change = self.change.lock();
        let numbers = self.directory().generations()?;
        let sealed = numbers.into_iter().map(|one| Ok((one, self.directory().read_sealed(one)?)));
        let shared = Shared { generations: sealed.collect::<Result<_, KeyError>>()? };
        postcard::to_stdvec(&shared).map_err(|error| KeyError::Primitive(error.to_string()))
    }

    /// Takes up the generations that another broker shared, in place of its own. They are durable here before they are
    /// used.
    ///
    /// # Errors
    /// When they were sealed with another key, cannot be read or written, or none of them is active; the ring stays as it
    /// was.
    pub fn take_up_sealed(&self, sealed: &[u8]) -> Result<(), KeyError> {
        let _change = self.change.lock();
        let generations = open(self.directory(), sealed)?;
        self.check(&generations)?;
        for one in &generations {
            self.directory().write(one.number, &one.to_bytes()?)?;
        }
        for gone in self.directory().generations()? {
            if generations.iter().all(|one| one.number != gone) {
                self.directory().remove(gone)?;
            }
        }
        self.show(generations)
    }
}

fn open(directory: &KeyDirectory, sealed: &[u8]) -> Result<Vec<Generation>, KeyError> {
    let damaged = |why| KeyError::Damaged { file: directory.path().join("shared"), why };
    if sealed.len() > MAX_BYTES {
        return Err(damaged("what was shared is too long"));
    }
    let shared: Shared =
        postcard::from_bytes(sealed).map_err(|_| damaged("what was shared cannot be read"))?;
    let mut generations = Vec::with_capacity(shared.generations.len());
    for (number, sealed) in shared.generations {
        let plain = directory.open_sealed(number, &sealed)?;
        generations.push(Generation::from_bytes(number, &plain, &directory.file(number))?);
    }
    generations.sort_unstable_by_key(|one| one.number);
    Ok(generations)
}
