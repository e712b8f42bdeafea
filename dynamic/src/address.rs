//! Network addresses and UUIDs as text, as serde writes them.
//!
//! In a schema they are structs and enums of bytes. A type counts as an address if its name and its
//! parts are those of one.

use super::error::EncodeError;
use super::keys::out_of_range;
use super::layout::{Fields, LayoutKind, Number, TypeIndex, TypeLayout};
use super::value::Value;
use serde_json::{Value as Json, json};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressKind {
    Ipv4,
    Ipv6,
    Ip,
    SocketV4,
    SocketV6,
    Socket,
    Uuid,
}

impl AddressKind {
    /// The kind of address that a type is.
    pub(super) fn of(types: &[TypeLayout], layout: &TypeLayout) -> Option<Self> {
        if !layout.has_address_name {
            return None;
        }
        let kind = match &*layout.name {
            "Ipv4Addr" => Self::Ipv4,
            "Ipv6Addr" => Self::Ipv6,
            "IpAddr" => Self::Ip,
            "SocketAddrV4" => Self::SocketV4,
            "SocketAddrV6" => Self::SocketV6,
            "SocketAddr" => Self::Socket,
            "Uuid" => Self::Uuid,
            _ => return None,
        };
        let is_it = |of: TypeIndex, kind| {
            types.get(of as usize).is_some_and(|part| Self::of(types, part) == Some(kind))
        };
        let is_number = |of: TypeIndex, number| {
            let part = types.get(of as usize).map(|part| &part.kind);
            matches!(part, Some(LayoutKind::Number(found)) if *found == number)
        };
        let is_bytes = |of: TypeIndex, count| {
            let part = types.get(of as usize).map(|part| &part.kind);
            matches!(part, Some(LayoutKind::Array { of, len }) if *len == count && is_number(*of, Number::U8))
        };
        let has = |names: &[&str]| match &layout.kind {
            LayoutKind::Struct(Fields { list, .. }) => {
                list.iter().map(|field| &*field.name).eq(names.iter().copied()).then_some(list)
            }
            _ => None,
        };
        let either = |v4, v6| match &layout.kind {
            LayoutKind::Enum(variants) => match &**variants {
                [a, b] => {
                    let is =
                        |one: &Fields, kind| matches!(&*one.list, [part] if is_it(part.of, kind));
                    *a.name == *"V4" && is(&a.fields, v4) && *b.name == *"V6" && is(&b.fields, v6)
                }
                _ => false,
            },
            _ => false,
        };
        let fits = match kind {
            Self::Ipv4 => is_bytes(has(&["octets"])?[0].of, 4),
            Self::Ipv6 => is_bytes(has(&["octets"])?[0].of, 16),
            Self::Uuid => is_bytes(has(&["bytes"])?[0].of, 16),
            Self::SocketV4 => {
                let list = has(&["ip", "port"])?;
                is_it(list[0].of, Self::Ipv4) && is_number(list[1].of, Number::U16)
            }
            Self::SocketV6 => {
                let list = has(&["ip", "port", "flowinfo", "scope_id"])?;
                is_it(list[0].of, Self::Ipv6)
                    && is_number(list[1].of, Number::U16)
                    && list[2..].iter().all(|part| is_number(part.of, Number::U32))
            }
            Self::Ip => either(Self::Ipv4, Self::Ipv6),
            Self::Socket => either(Self::SocketV4, Self::SocketV6),
        };
        fits.then_some(kind)
    }

    /// The JSON of the parts of an address, if the JSON is a text and the type an address.
    pub(super) fn parts_in(
        types: &[TypeLayout],
        layout: &TypeLayout,
        json: &Json,
    ) -> Result<Option<Json>, EncodeError> {
        let (Some(text), Some(kind)) = (json.as_str(), Self::of(types, layout)) else {
            return Ok(None);
        };
        kind.parts(text).map(Some).ok_or_else(|| out_of_range(&layout.name, json))
    }

    /// The JSON of the parts of the address that a text names. `None` if it names none.
    fn parts(self, text: &str) -> Option<Json> {
        let v4 = |ip: Ipv4Addr| json!({ "octets": ip.octets() });
        let v6 = |ip: Ipv6Addr| json!({ "octets": ip.octets() });
        let socket_v4 = |one: SocketAddrV4| json!({ "ip": v4(*one.ip()), "port": one.port() });
        let socket_v6 = |one: SocketAddrV6| {
            json!({
                "ip": v6(*one.ip()), "port": one.port(),
                "flowinfo": one.flowinfo(), "scope_id": one.scope_id(),
            })
        };
        Some(match self {
            Self::Ipv4 => v4(text.parse().ok()?),
            Self::Ipv6 => v6(text.parse().ok()?),
            Self::Ip => match text.parse().ok()? {
                IpAddr::V4(ip) => json!({ "V4": v4(ip) }),
                IpAddr::V6(ip) => json!({ "V6": v6(ip) }),
            },
            Self::SocketV4 => socket_v4(text.parse().ok()?),
            Self::SocketV6 => socket_v6(text.parse().ok()?),
            Self::Socket => match text.parse().ok()? {
                SocketAddr::V4(one) => json!({ "V4": socket_v4(one) }),
                SocketAddr::V6(one) => json!({ "V6": socket_v6(one) }),
            },
            Self::Uuid => {
                let digits: String = text.chars().filter(|c| *c != '-').collect();
                let is_hex = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let number = u128::from_str_radix(&digits, 16).ok().filter(|_| is_hex)?;
                json!({ "bytes": number.to_be_bytes() })
            }
        })
    }
}

/// An address.
#[derive(Clone, Copy)]
pub(super) enum NetAddress {
    Ip(IpAddr),
    Socket(SocketAddr),
    Uuid(u128),
}

impl NetAddress {
    /// The address in a value, if its text has all of it.
    pub(super) fn of(value: &Value<'_>) -> Option<Self> {
        let kind = AddressKind::of(&value.schema.types, value.layout)?;
        Some(match kind {
            AddressKind::Ipv4 => Self::Ip(Ipv4Addr::from(value.first_bytes::<4>()?).into()),
            AddressKind::Ipv6 => Self::Ip(Ipv6Addr::from(value.first_bytes::<16>()?).into()),
            AddressKind::Uuid => Self::Uuid(u128::from_be_bytes(value.first_bytes()?)),
            AddressKind::Ip | AddressKind::Socket => return Self::of(&value.at(0)?),
            AddressKind::SocketV4 | AddressKind::SocketV6 => {
                let Self::Ip(ip) = Self::of(&value.at(0)?)? else { return None };
                let number = |index| value.at(index)?.as_u64();
                let port = number(1)? as u16;
                Self::Socket(match ip {
                    IpAddr::V4(ip) => SocketAddrV4::new(ip, port).into(),
                    IpAddr::V6(ip) => {
                        let (flow, scope) = (number(2)? as u32, number(3)? as u32);
                        // The text has no flow.
                        if flow != 0 {
                            return None;
                        }
                        SocketAddrV6::new(ip, port, flow, scope).into()
                    }
                })
            }
        })
    }
}

impl fmt::Display for NetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Socket(socket) => socket.fmt(f),
            Self::Uuid(number) => {
                let group =
                    |shift: u32, digits: u32| (number >> shift) & ((1_u128 << (4 * digits)) - 1);
                let (a, b, c) = (group(96, 8), group(80, 4), group(64, 4));
                write!(f, "{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", group(48, 4), group(0, 12))
            }
        }
    }
}
