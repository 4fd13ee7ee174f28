//! Which addresses are whose.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::Host;

use super::OutboundConfigError;

/// Why an address is not the public internet (IANA's special-purpose registries).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressClass {
    /// This machine.
    Loopback,
    /// RFC 1918, RFC 4193 and the old site-local.
    Private,
    /// RFC 6598.
    SharedNat,
    /// 169.254/16, fe80::/10. Never callable.
    LinkLocal,
    /// A cloud's metadata or fabric service. Never callable.
    Metadata,
    /// No address at all, or "this network".
    Unspecified,
    /// To many.
    Multicast,
    /// An IPv4 address in IPv6 clothes: mapped, NAT64, 6to4, Teredo.
    Embedded,
    /// Documentation, benchmarks, and what nobody was given.
    Reserved,
}

impl AddressClass {
    /// Its name in errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::SharedNat => "carrier-grade NAT",
            Self::LinkLocal => "link-local",
            Self::Metadata => "a metadata service",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Embedded => "an embedded IPv4 address",
            Self::Reserved => "reserved",
        }
    }

    /// Whether no allow list opens it.
    const fn is_never(self) -> bool {
        matches!(self, Self::LinkLocal | Self::Metadata)
    }

    /// The class of an address; `None` for a public one.
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Metadata and fabric services outside the link-local range: Azure's wire server, Alibaba's, Oracle's.
const METADATA_V4: [Ipv4Addr; 3] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
/// AWS's and Google's.
const METADATA_V6: [Ipv6Addr; 2] = [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

fn of_v4(address: Ipv4Addr) -> Option<AddressClass> {
    if METADATA_V4.contains(&address) || address == Ipv4Addr::new(169, 254, 169, 254) {
        return Some(AddressClass::Metadata);
    }
    match address.octets() {
        [0, ..] => Some(AddressClass::Unspecified),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(AddressClass::Private),
        [100, 64..=127, ..] => Some(AddressClass::SharedNat),
        [127, ..] => Some(AddressClass::Loopback),
        [169, 254, ..] => Some(AddressClass::LinkLocal),
        [224..=239, ..] => Some(AddressClass::Multicast),
        [240..=255, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Some(AddressClass::Reserved)
        }
        _ => None,
    }
}

fn of_v6(address: Ipv6Addr) -> Option<AddressClass> {
    if METADATA_V6.contains(&address) {
        return Some(AddressClass::Metadata);
    }
    if let Some(inner) = embedded_v4(address) {
        // What an allow list never opens it does not open in this form either.
        return Some(of_v4(inner).filter(|class| class.is_never()).unwrap_or(AddressClass::Embedded));
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(AddressClass::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(AddressClass::Loopback),
        [0xfe80..=0xfebf, ..] => Some(AddressClass::LinkLocal),
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Some(AddressClass::Private),
        [0xff00..=0xffff, ..] => Some(AddressClass::Multicast),
        // Teredo: the client's IPv4 address lies in it inverted; nobody's vault.
        [0x2001, 0, ..] => Some(AddressClass::Embedded),
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(AddressClass::Reserved),
        [0x2000..=0x3fff, ..] => None,
        _ => Some(AddressClass::Reserved),
    }
}

/// The IPv4 address that an IPv6 one leads to: ::/96 (but :: and ::1), mapped, translated, NAT64 (RFC 6052, 8215), 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => from(high, low),
        _ => None,
    }
}

/// What an operator opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    networks: Vec<Network>,
    /// As URLs write hosts: lower case, IPv6 in brackets.
    endpoints: Vec<(String, u16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    base: IpAddr,
    bits: u8,
}

impl AllowList {
    /// Reads the entries: `10.0.0.0/8`, `fd00::/8`, `10.1.2.3`, `vault.internal:8443`, `127.0.0.1:7701`, `[::1]:7701`.
    ///
    /// # Errors
    /// [`OutboundConfigError::Allow`] with the first that is none of these.
    pub fn parse(entries: &[String]) -> Result<Self, OutboundConfigError> {
        let mut list = Self::default();
        for entry in entries {
            let text = entry.trim();
            if let Some(network) = Network::parse(text) {
                list.networks.push(network);
            } else if let Some(endpoint) = endpoint(text) {
                list.endpoints.push(endpoint);
            } else {
                return Err(OutboundConfigError::Allow { entry: entry.clone() });
            }
        }
        Ok(list)
    }

    /// Whether all the addresses of an endpoint may be called.
    ///
    /// # Errors
    /// The class of the first that may not.
    pub fn check(&self, host: &str, port: u16, addresses: &[IpAddr]) -> Result<(), AddressClass> {
        let listed = self.endpoints.iter().any(|(name, at)| name == host && *at == port);
        for address in addresses {
            let Some(class) = AddressClass::of(*address) else { continue };
            let open = listed || self.networks.iter().any(|network| network.contains(*address));
            if class.is_never() || !open {
                return Err(class);
            }
        }
        Ok(())
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base.parse::<IpAddr>().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let widest = if base.is_ipv4() { 32 } else { 128 };
        let network = Self { base, bits: bits.unwrap_or(widest) };
        (network.bits <= widest).then_some(network)
    }

    /// Addresses of one family only: a mapped IPv4 address is in no IPv4 network.
    fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                (base.to_bits() ^ address.to_bits()).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                (base.to_bits() ^ address.to_bits()).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn endpoint(text: &str) -> Option<(String, u16)> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        let host = match socket.ip() {
            IpAddr::V4(address) => Host::<&str>::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        };
        return Some((host.to_string(), socket.port()));
    }
    // A URL may hold an asterisk, but whoever writes one here means a pattern.
    let (host, port) = text.rsplit_once(':').filter(|(host, _)| !host.contains('*'))?;
    let host = Host::parse(host).ok()?;
    Some((host.to_string(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_has_its_class() {
        use AddressClass::*;
        let table = [
            ("8.8.8.8", None),
            ("1.1.1.1", None),
            ("100.63.255.255", None),
            ("100.128.0.0", None),
            ("172.15.255.255", None),
            ("172.32.0.0", None),
            ("11.0.0.0", None),
            ("126.255.255.255", None),
            ("128.0.0.0", None),
            ("169.253.255.255", None),
            ("169.255.0.0", None),
            ("223.255.255.255", None),
            ("2606:4700::1111", None),
            ("2a00::1", None),
            ("2001:200::1", None),
            ("0.0.0.0", Some(Unspecified)),
            ("0.1.2.3", Some(Unspecified)),
            ("10.0.0.1", Some(Private)),
            ("172.16.0.0", Some(Private)),
            ("172.31.255.255", Some(Private)),
            ("192.168.1.1", Some(Private)),
            ("100.64.0.0", Some(SharedNat)),
            ("100.127.255.255", Some(SharedNat)),
            ("127.0.0.1", Some(Loopback)),
            ("127.255.255.254", Some(Loopback)),
            ("169.254.0.1", Some(LinkLocal)),
            ("169.254.169.254", Some(Metadata)),
            ("168.63.129.16", Some(Metadata)),
            ("100.100.100.200", Some(Metadata)),
            ("192.0.0.192", Some(Metadata)),
            ("192.0.2.1", Some(Reserved)),
            ("198.18.0.1", Some(Reserved)),
            ("203.0.113.9", Some(Reserved)),
            ("224.0.0.1", Some(Multicast)),
            ("239.255.255.255", Some(Multicast)),
            ("240.0.0.1", Some(Reserved)),
            ("255.255.255.255", Some(Reserved)),
            ("::", Some(Unspecified)),
            ("::1", Some(Loopback)),
            ("fe80::1", Some(LinkLocal)),
            ("febf::1", Some(LinkLocal)),
            ("fec0::1", Some(Private)),
            ("fc00::1", Some(Private)),
            ("fdff::1", Some(Private)),
            ("fd00:ec2::254", Some(Metadata)),
            ("ff02::1", Some(Multicast)),
            ("2001:db8::1", Some(Reserved)),
            ("2001:2::1", Some(Reserved)),
            ("3fff::1", Some(Reserved)),
            ("100::1", Some(Reserved)),
            ("5f00::1", Some(Reserved)),
            ("4000::1", Some(Reserved)),
            ("::ffff:8.8.8.8", Some(Embedded)),
            ("::ffff:127.0.0.1", Some(Embedded)),
            ("::ffff:169.254.169.254", Some(Metadata)),
            ("::ffff:169.254.1.1", Some(LinkLocal)),
            ("::127.0.0.1", Some(Embedded)),
            ("::ffff:0:10.0.0.1", Some(Embedded)),
            ("64:ff9b::10.0.0.1", Some(Embedded)),
            ("64:ff9b::a9fe:a9fe", Some(Metadata)),
            ("64:ff9b:1::a9fe:a9fe", Some(Metadata)),
            ("2002:a9fe:a9fe::1", Some(Metadata)),
            ("2002:7f00:1::", Some(Embedded)),
            ("2001:0:1::1", Some(Embedded)),
        ];
        for (text, class) in table {
            assert_eq!(AddressClass::of(text.parse().unwrap()), class, "{text}");
        }
    }

    fn list(entries: &[&str]) -> AllowList {
        AllowList::parse(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_list_opens_what_it_names_and_nothing_beside_it() {
        let open = list(&["10.1.0.0/16", "192.168.7.7", "fd12::/16", "127.0.0.1:7701", "[::1]:7701", "Vault.Internal:8443"]);
        let check = |host, port, texts: &[&str]| open.check(host, port, &addresses(texts));
        assert_eq!(check("v", 443, &["10.1.255.255", "192.168.7.7", "fd12:3::1", "8.8.8.8"]), Ok(()));
        assert_eq!(check("v", 443, &["10.2.0.0"]), Err(AddressClass::Private));
        assert_eq!(check("v", 443, &["192.168.7.8"]), Err(AddressClass::Private));
        assert_eq!(check("v", 443, &["::ffff:10.1.0.1"]), Err(AddressClass::Embedded));
        assert_eq!(check("127.0.0.1", 7701, &["127.0.0.1"]), Ok(()));
        assert_eq!(check("127.0.0.1", 7700, &["127.0.0.1"]), Err(AddressClass::Loopback));
        assert_eq!(check("[::1]", 7701, &["::1"]), Ok(()));
        assert_eq!(check("localhost", 7701, &["127.0.0.1"]), Err(AddressClass::Loopback));
        assert_eq!(check("vault.internal", 8443, &["10.9.9.9", "127.0.0.1"]), Ok(()));
        assert_eq!(check("vault.internal", 443, &["10.9.9.9"]), Err(AddressClass::Private));
        assert_eq!(check("v", 443, &["8.8.8.8", "10.9.9.9"]), Err(AddressClass::Private), "one bad address is enough");
    }

    #[test]
    fn no_list_opens_metadata_or_link_local() {
        let open = list(&["0.0.0.0/0", "::/0", "169.254.169.254", "169.254.169.254:80", "meta:443"]);
        for text in ["169.254.169.254", "169.254.0.1", "fe80::1", "168.63.129.16", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"] {
            for (host, port) in [("meta", 443), ("169.254.169.254", 80)] {
                assert!(open.check(host, port, &addresses(&[text])).is_err(), "{text}");
            }
        }
        assert_eq!(open.check("v", 443, &addresses(&["10.0.0.1", "::1", "::ffff:10.0.0.1"])), Ok(()));
    }

    #[test]
    fn what_is_no_entry_is_named() {
        for bad in ["", "10.0.0.0/33", "fd00::/129", "10.0.0.0/x", "vault.internal", "vault:0x1", "vault:99999", "*.example:443", "a b:1"] {
            let refused = AllowList::parse(&[bad.to_owned()]).unwrap_err();
            assert!(matches!(refused, OutboundConfigError::Allow { entry } if entry == bad), "{bad}");
        }
    }
}
