//! Which certificates are trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::Error;

/// Names a file of certificates that are trusted instead of the system's, as all AWS SDKs but the one for Rust have it.
const BUNDLE: &str = "AWS_CA_BUNDLE";

/// The file that the environment names, if it names one.
pub(crate) fn ca_bundle() -> Option<PathBuf> {
    std::env::var_os(BUNDLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Reads the certificates of such a file.
pub(crate) fn read_bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let broken = |cause: String| Error::CaBundle { path: path.to_owned(), cause };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| broken(error.to_string()))?;
    if certificates.is_empty() {
        return Err(broken("there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}

/// A client that trusts `bundle`, or, without one, what this system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` included).
pub(super) fn client(
    bundle: Option<Vec<CertificateDer<'static>>>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    // A certificate that cannot be read makes the others no worse; a connection that needs it will say so.
    roots.add_parsable_certificates(bundle.unwrap_or_else(|| rustls_native_certs::load_native_certs().certs));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
