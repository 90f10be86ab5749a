//! Thieves over TCP, blocking: for demos.
