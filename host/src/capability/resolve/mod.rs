//! Names to addresses, with a resolver of the host's own: the system's name servers and hosts file, a small cache,
//! two seconds at most.
//!
//! Architecture invariant: only "there is no such name" is the target's; whatever else goes wrong is the
//! prober's trouble.

mod system;

use super::{
    error::{ErrorCode, Failure, Phase},
    net::IpFamily,
    places::{Places, TenantId},
    target::Host,
};
use crate::clock::Clock;
use hickory_resolver::{
    Hosts,
    config::{LookupIpStrategy, ResolveHosts, ResolverOpts},
    net::{DnsError, NetError},
    proto::{
        op::{Query, ResponseCode},
        rr::{Name, RecordType},
    },
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};
use system::{Known, System};

/// Longest look-up, with all its retries.
const LOOKUP_MAX: Duration = Duration::from_secs(2);
/// One try; a second one fits into [`LOOKUP_MAX`].
const TRY_MAX: Duration = Duration::from_millis(900);
/// Look-ups at the same time, for each worker; each has sockets of its own. No tenant gets all of them.
const CONCURRENT_MAX: usize = 32;
/// Answers kept, for each worker.
const CACHE_MAX: u64 = 1024;
/// An answer is asked for again after that time even when its TTL is longer: a monitor should notice.
const POSITIVE_TTL_MAX: Duration = Duration::from_secs(60);
/// The same for "no such name".
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(5);
/// Addresses of one name that are looked at; a name with more is refused.
const ADDRESSES_MAX: usize = 64;

/// The resolver of one worker's runtime.
pub(super) struct Resolver {
    system: System,
    places: Arc<Places>,
    /// In place of name servers.
    #[cfg(test)]
    pub(crate) script: Option<Script>,
}

/// Answers a look-up.
#[cfg(test)]
pub(crate) type Script = Box<dyn Fn(&str) -> Vec<IpAddr> + Send + Sync>;

impl Resolver {
    /// By the system's configuration. Without one, addresses and the hosts file still work.
    pub(super) fn new(clock: Clock, tenants: Arc<AtomicUsize>) -> Self {
        Self {
            system: System::new(clock),
            places: Places::new(CONCURRENT_MAX, tenants),
            #[cfg(test)]
            script: None,
        }
    }

    #[cfg(test)]
    fn over(system: System) -> Self {
        Self {
            system,
            places: Places::new(CONCURRENT_MAX, Arc::default()),
            script: None,
        }
    }

    /// Knows these lines of a hosts file and nothing else.
    #[cfg(test)]
    pub(super) fn fixed(lines: &str) -> Self {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(lines.as_bytes()).unwrap();
        Self::over(System::fixed(Known {
            dns: Err("there is no name server in this test".into()),
            hosts: Arc::new(hosts),
            servers: Arc::default(),
        }))
    }

    /// A system whose name server is that one.
    #[cfg(test)]
    pub(super) fn with_server(server: std::net::SocketAddr) -> Self {
        Self::over(System::fixed(Known {
            dns: Err("this test looks nothing up".into()),
            hosts: Arc::default(),
            servers: Arc::from([server]),
        }))
    }

    /// The system's name servers, in order.
    pub(super) fn servers(&self) -> Result<Arc<[std::net::SocketAddr]>, Failure> {
        let known = self.system.current();
        match known.dns {
            _ if !known.servers.is_empty() => Ok(known.servers),
            Err(error) => Err(trouble(error)),
            Ok(_) => Err(trouble("the system has no name servers")),
        }
    }

    /// The addresses of a host, in the order in which to try them; at least one.
    pub(super) async fn resolve(
        &self,
        tenant: TenantId,
        host: &Host,
        family: IpFamily,
    ) -> Result<Vec<IpAddr>, Failure> {
        let mut addresses = match host {
            Host::Address(address) => vec![*address],
            // RFC 6761: these names never leave the host.
            Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            // Large, and most checks do without.
            Host::Name(name) => Box::pin(self.look_up(tenant, name, family)).await?,
        };
        addresses.retain(|address| match family {
            IpFamily::Any => true,
            IpFamily::V4 => address.is_ipv4(),
            IpFamily::V6 => address.is_ipv6(),
        });
        let mut seen = Vec::with_capacity(addresses.len());
        for address in addresses {
            if !seen.contains(&address) {
                seen.push(address);
            }
        }
        if seen.is_empty() {
            return Err(not_found(format!("{host} has no address of that family")));
        }
        if seen.len() > ADDRESSES_MAX {
            return Err(Failure::new(
                ErrorCode::ResolveFailed,
                Phase::Resolve,
                format!("{host} has more than {ADDRESSES_MAX} addresses"),
            ));
        }
        Ok(seen)
    }

    async fn look_up(&self, tenant: TenantId, text: &str, family: IpFamily) -> Result<Vec<IpAddr>, Failure> {
        #[cfg(test)]
        if let Some(script) = &self.script {
            return Ok(script(text));
        }
        let mut name = Name::from_utf8(text)
            .map_err(|error| Failure::invalid(format!("`{text}` is no host name: {error}")))?;
        let Known { dns, hosts, .. } = self.system.current();
        if let Some(addresses) = static_addresses(&hosts, &name) {
            return Ok(addresses);
        }
        let dns = dns.map_err(trouble)?;
        // A dotted name is meant as it stands. With the search list behind it, a name that is gone could be
        // answered by a wildcard of some search domain.
        if text.contains('.') {
            name.set_fqdn(true);
        }
        let asked = async {
            let _place = match self.places.try_take(tenant, None) {
                Ok(place) => place,
                Err(turn) => turn.wait().await,
            };
            match family {
                IpFamily::Any => dns.lookup_ip(name).await.map(|found| found.iter().collect()),
                IpFamily::V4 => dns.lookup(name, RecordType::A).await.map(addresses),
                IpFamily::V6 => dns.lookup(name, RecordType::AAAA).await.map(addresses),
            }
        };
        match tokio::time::timeout(LOOKUP_MAX, asked).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(failure(text, &error)),
            Err(_) => Err(trouble(format!(
                "the resolver did not answer for `{text}` within {LOOKUP_MAX:?}"
            ))),
        }
    }
}

/// What the hosts file says about a name, both families together: a name that stands there is not asked for in the
/// DNS, as with the system's own resolver.
fn static_addresses(hosts: &Hosts, name: &Name) -> Option<Vec<IpAddr>> {
    let found: Vec<_> = [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .flat_map(addresses)
        .collect();
    (!found.is_empty()).then_some(found)
}

fn addresses(lookup: hickory_resolver::lookup::Lookup) -> Vec<IpAddr> {
    lookup
        .answers()
        .iter()
        .filter_map(|record| record.data.ip_addr())
        .collect()
}

fn tune(options: &mut ResolverOpts) {
    options.timeout = TRY_MAX;
    options.attempts = 1;
    options.cache_size = CACHE_MAX;
    options.positive_max_ttl = Some(POSITIVE_TTL_MAX);
    options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
}

fn failure(text: &str, error: &NetError) -> Failure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            not_found(match none.response_code {
                ResponseCode::NXDomain => format!("there is no name `{text}`"),
                _ => format!("`{text}` has no address"),
            })
        }
        error => trouble(format!("`{text}` could not be looked up: {error}")),
    }
}

fn not_found(message: String) -> Failure {
    Failure::new(ErrorCode::NameNotFound, Phase::Resolve, message)
}

fn trouble(message: impl AsRef<str>) -> Failure {
    Failure::new(ErrorCode::ResolveFailed, Phase::Resolve, message).tainted()
}

#[cfg(test)]
mod tests {
    use super::{super::Taint, *};
    use hickory_resolver::{
        TokioResolver,
        config::{ConnectionConfig, NameServerConfig, ResolverConfig},
        net::runtime::TokioRuntimeProvider,
        proto::{
            op::{Message, MessageType},
            rr::{RData, Record},
        },
    };
    use std::net::SocketAddr;
    use tokio::net::UdpSocket;

    /// A name server on loopback that answers by the first label.
    async fn name_server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let asked = Message::from_vec(&buffer[..length]).unwrap();
                if let Some(answer) = answer(&asked) {
                    socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
                }
            }
        });
        address
    }

    fn answer(asked: &Message) -> Option<Message> {
        let query = asked.queries[0].clone();
        let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
        answer.metadata.message_type = MessageType::Response;
        answer.add_query(query.clone());
        let kind = query.query_type();
        let name = query.name().to_utf8();
        let mut records = |list: &[&str]| {
            for text in list {
                let data = RData::from(text.parse::<IpAddr>().unwrap());
                if data.record_type() == kind {
                    answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
                }
            }
        };
        match name.split('.').next().unwrap() {
            "both" => records(&["10.0.0.1", "10.0.0.2", "fd00::1"]),
            "four" => records(&["10.0.0.4"]),
            "empty" => {}
            "gone" => answer.metadata.response_code = ResponseCode::NXDomain,
            "broken" => answer.metadata.response_code = ResponseCode::ServFail,
            "refused" => answer.metadata.response_code = ResponseCode::Refused,
            _ => return None,
        }
        Some(answer)
    }

    fn asking(server: SocketAddr) -> Resolver {
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        let config = ResolverConfig::from_name_servers(vec![NameServerConfig::new(
            server.ip(),
            true,
            vec![connection],
        )]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        tune(builder.options_mut());
        let mut hosts = Hosts::default();
        let lines = b"10.1.1.1 fixed\n10.1.1.2 fixed.example\nfd00::2 fixed.example\n";
        hosts.read_hosts_conf(&lines[..]).unwrap();
        Resolver::over(System::fixed(Known {
            dns: builder.build().map_err(|error| error.to_string()),
            hosts: Arc::new(hosts),
            servers: Arc::from([server]),
        }))
    }

    async fn ask(resolver: &Resolver, name: &str, family: IpFamily) -> Result<Vec<String>, Failure> {
        let host = Host::parse(name).unwrap();
        let addresses = resolver.resolve(TenantId(0), &host, family).await?;
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn answers_of_each_family() {
        let resolver = asking(name_server().await);
        for (name, family, expected) in [
            (
                "both.example",
                IpFamily::Any,
                &["10.0.0.1", "10.0.0.2", "fd00::1"][..],
            ),
            ("both.example", IpFamily::V4, &["10.0.0.1", "10.0.0.2"]),
            ("both.example", IpFamily::V6, &["fd00::1"]),
            ("four.example", IpFamily::Any, &["10.0.0.4"]),
            ("fixed", IpFamily::Any, &["10.1.1.1"]),
            ("fixed.example", IpFamily::Any, &["10.1.1.2", "fd00::2"]),
            ("fixed.example", IpFamily::V6, &["fd00::2"]),
            ("localhost", IpFamily::Any, &["127.0.0.1", "::1"]),
            ("a.localhost", IpFamily::V6, &["::1"]),
            ("10.9.8.7", IpFamily::Any, &["10.9.8.7"]),
        ] {
            assert_eq!(
                ask(&resolver, name, family).await.unwrap(),
                expected,
                "{name} {family:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_is_the_targets_trouble() {
        let resolver = asking(name_server().await);
        for (name, family) in [
            ("gone.example", IpFamily::Any),
            ("gone.example", IpFamily::V4),
            ("empty.example", IpFamily::Any),
            ("four.example", IpFamily::V6),
            ("fixed", IpFamily::V6),
            ("::1", IpFamily::V4),
        ] {
            let failure = ask(&resolver, name, family).await.unwrap_err();
            assert_eq!(
                (failure.code, &failure.taint),
                (ErrorCode::NameNotFound, &None),
                "{name}: {failure}"
            );
            assert_eq!(failure.phase, Phase::Resolve);
        }
    }

    #[tokio::test]
    async fn a_resolver_in_trouble_is_the_hosts_trouble() {
        let resolver = asking(name_server().await);
        for name in ["broken.example", "refused.example", "silent.example"] {
            let failure = ask(&resolver, name, IpFamily::Any).await.unwrap_err();
            assert_eq!(failure.code, ErrorCode::ResolveFailed, "{name}: {failure}");
            assert!(matches!(failure.taint, Some(Taint::Host(_))), "{name}");
        }
    }

    #[tokio::test]
    async fn without_a_configuration_literals_still_work() {
        let resolver = Resolver::fixed("");
        assert_eq!(
            ask(&resolver, "127.0.0.1", IpFamily::Any).await.unwrap(),
            ["127.0.0.1"]
        );
        assert_eq!(
            ask(&resolver, "localhost", IpFamily::V4).await.unwrap(),
            ["127.0.0.1"]
        );
        let failure = ask(&resolver, "a.example", IpFamily::Any).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::ResolveFailed);
        assert!(matches!(failure.taint, Some(Taint::Host(_))));
    }
}
