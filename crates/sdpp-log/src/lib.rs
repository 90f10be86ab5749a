//! The pure transparency log: an append-only list of entries whose every state is one short, signed text.
//!
//! | module | what | specification |
//! |---|---|---|
//! | [`hash`], [`tree`], [`frontier`] | Merkle tree hashing, the whole tree, only its right edge | RFC 6962 §2.1, RFC 9162 §2.1 |
//! | [`proof`] | checking inclusion and consistency | RFC 9162 §2.1.3.2, §2.1.4.2 |
//! | [`note`], [`key`] | signed texts and their verifier keys | C2SP signed-note |
//! | [`checkpoint`], [`policy`] | tree heads, and when to trust one | C2SP tlog-checkpoint |
//! | [`cosignature`], [`witness`] | the defence against forked logs | C2SP tlog-cosignature, tlog-witness |
//! | [`add_checkpoint`] | what a log and a witness say to each other | C2SP tlog-witness |
//! | [`tiles`], [`bundle`] | published tree files: their names, and entries in them | C2SP tlog-tiles |
//! | [`tiled`], [`edge`] | proofs from tiles, and writing tiles | C2SP tlog-tiles |
//! | [`tlog_proof`] | a proof that travels | C2SP tlog-proof |
//! | [`limits`] | every limit of this crate | |
//!
//! Nothing here reads a clock, a file, a socket or a random number, and nothing here signs: times and
//! signatures come in through arguments and the two traits of [`key`]. So the ledger, an auditor and a browser
//! run the same code, and any run can be repeated exactly.

#![no_std]

extern crate alloc;

pub mod add_checkpoint;
pub mod bundle;
pub mod checkpoint;
pub mod cosignature;
pub mod edge;
pub mod frontier;
pub mod hash;
pub mod key;
pub mod limits;
pub mod note;
pub mod policy;
pub mod proof;
mod text;
pub mod tiled;
pub mod tiles;
pub mod tlog_proof;
pub mod tree;
mod walk;
pub mod witness;

pub use add_checkpoint::{AddCheckpoint, RequestError};
pub use bundle::BundleError;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use cosignature::Cosignature;
pub use edge::{Edge, FullTile};
pub use frontier::Frontier;
pub use hash::{Hash, leaf_hash, node_hash};
pub use key::{KeyError, KeyId, NoteSigner, NoteVerifier, SignatureType, VerifierKey};
pub use note::{Note, NoteError, Signature};
pub use policy::{OpenError, Policy, PolicyError, SignedCheckpoint, TrustError, Trusted};
pub use proof::{ProofError, inclusion_root, peaks_before, verify_consistency, verify_inclusion};
pub use tiled::TiledError;
pub use tiles::{TileError, TileKind, TilePath};
pub use tlog_proof::{TlogProof, TlogProofError, TlogProofRefusal};
pub use tree::{Tree, TreeError};
pub use witness::{Accepted, LogState, NextState, Refusal, Witness, cosign};
