//! A name server of the tests' own.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex},
};

/// The smallest name server there can be: it answers each question for an address with the one that it holds, and says
/// that there is no such name while it holds none (RFC 1035, section 4.1).
pub fn name_server(address: Arc<Mutex<Option<[u8; 4]>>>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let (head, question) = buffer[..length].split_at(12);
            assert_eq!(
                head[4..12],
                [0, 1, 0, 0, 0, 0, 0, 0],
                "one question, nothing else"
            );
            let address = *address.lock().unwrap();
            let (flags, count) = match address {
                Some(_) => ([0x81, 0x80], 1),
                None => ([0x81, 0x83], 0),
            };
            let mut answer = [&head[..2], &flags, &[0, 1, 0, count, 0, 0, 0, 0], question].concat();
            if let Some(address) = address {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address);
            }
            socket.send_to(&answer, peer).unwrap();
        }
    });
    own
}
