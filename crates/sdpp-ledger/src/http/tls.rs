//! TLS of a server: its certificates and key.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why a certificate or its key cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsError {
    /// The chain is not PEM with at least one certificate.
    BadChain,
    /// The key is not PEM with a private key.
    BadKey,
    /// The key is not the one of the first certificate, or of an unknown kind.
    Mismatch,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadChain => "the certificate chain is not PEM with at least one certificate",
            Self::BadKey => "the private key is not PEM (PKCS#8, PKCS#1 or SEC1)",
            Self::Mismatch => "the private key is not the one of the first certificate, or of an unknown kind",
        })
    }
}

impl std::error::Error for TlsError {}

/// Who a server is to TLS clients. Never printed.
#[derive(Clone)]
pub struct TlsIdentity(pub(super) TlsAcceptor);

impl TlsIdentity {
    /// From a certificate chain, the server's own certificate first, and its key, both as PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::BadChain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::BadKey)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|_| TlsError::Mismatch)?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(|_| TlsError::Mismatch)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity")
    }
}
