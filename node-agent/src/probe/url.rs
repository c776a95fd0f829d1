//! The URLs of checks: where to connect to, whether with TLS, and what to ask for there.

use std::net::IpAddr;

use hyper::Uri;

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// `host:port`, to connect to.
    pub(super) address: String,
    /// The host as a certificate names it, if the scheme is one with TLS.
    pub(super) secure: Option<String>,
    /// The host with the port as it was written, for the `Host` header.
    pub(super) authority: String,
    /// The path and the query.
    pub(super) path: String,
}

impl Url {
    /// Reads a URL of one of two schemes: in clear text, and with TLS.
    pub(super) fn parse(url: &str, [plain, secure]: [&str; 2]) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
        let secure = match uri.scheme_str() {
            Some(scheme) if scheme == plain => false,
            Some(scheme) if scheme == secure => true,
            _ => {
                return Err(format!(
                    "not a URL that begins with {plain}:// or {secure}://"
                ));
            }
        };
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or("the URL has no host")?;
        let authority = uri
            .authority()
            .map_or(host, hyper::http::uri::Authority::as_str);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self {
            address: format!("{host}:{port}"),
            secure: secure.then(|| bare(host).to_owned()),
            authority: authority.to_owned(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
        })
    }
}

/// An IPv6 address without the brackets that it has in a URL.
fn bare(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner
        .filter(|inner| inner.parse::<IpAddr>().is_ok())
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_to_connect_to_and_which_name_its_certificate_has() {
        let parse = |url| Url::parse(url, ["http", "https"]);
        let plain = parse("http://web:8080/status?x=1").unwrap();
        assert_eq!(
            (
                &*plain.address,
                plain.secure,
                &*plain.authority,
                &*plain.path
            ),
            ("web:8080", None, "web:8080", "/status?x=1")
        );
        let secure = parse("https://[fd00::1]/").unwrap();
        assert_eq!(
            (&*secure.address, secure.secure.as_deref()),
            ("[fd00::1]:443", Some("fd00::1"))
        );
        assert_eq!(parse("http://web").unwrap().address, "web:80");
        for url in [
            "ftp://web/",
            "/status",
            "http://",
            "http://a b/",
            "ws://web/",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
