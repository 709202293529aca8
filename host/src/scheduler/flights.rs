//! The jobs that are out: in a channel, or running. Who must have come back, and by when.
//!
//! A lane that is pending holds the number of its flight. Each number has at most one entry in the wheel that counts,
//! and keeps it when it is used again: whatever comes out of the wheel too early for the present flight is put in once
//! more, for its deadline. So a job that comes back in time costs the wheel nothing.
//!
//! Architecture invariant: a flight ends exactly once, by [`Flights::land`]; until then it is in the wheel, not later
//! than its deadline.

use super::resources::{LaneRef, TAG_FLIGHT};
use super::wheel::Wheel;
use crate::domain::time::Mono;
use bevy_ecs::entity::Entity;

/// One job that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Whose.
    pub entity: Entity,
    /// Which of its lanes.
    pub lane: LaneRef,
    /// Which queue it came from; its share is given back when it lands.
    pub flow: u16,
    /// When it must have come back.
    pub deadline: Mono,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    flight: Option<Flight>,
    /// The entry of the wheel that will see to it.
    entry_at: Mono,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Flights {
    seats: Vec<Seat>,
    /// Used last, used next: it is warm, and its entry in the wheel is far.
    free: Vec<u32>,
}

impl Flights {
    /// A job is out. Returns its flight's number.
    pub fn start(&mut self, flight: Flight, wheel: &mut Wheel) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.seats.push(Seat {
                flight: None,
                entry_at: Mono::NEVER,
            });
            // What is out is bounded far below that.
            u32::try_from(self.seats.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(seat) = self.seats.get_mut(number as usize) {
            seat.flight = Some(flight);
            if flight.deadline < seat.entry_at {
                seat.entry_at = flight.deadline;
                wheel.insert(flight.deadline, u64::from(number), TAG_FLIGHT);
            }
        }
        number
    }

    /// The job came back, or is given up.
    pub fn land(&mut self, number: u32) -> Option<Flight> {
        let flight = self.seats.get_mut(number as usize)?.flight.take()?;
        self.free.push(number);
        Some(flight)
    }

    /// A flight that is out.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<Flight> {
        self.seats.get(number as usize)?.flight
    }

    /// An entry of the wheel came out: the flight, if its time has passed. Otherwise the wheel has another entry for
    /// it, should it still be out.
    pub fn look(&mut self, number: u32, now: Mono, wheel: &mut Wheel) -> Option<Flight> {
        let seat = self.seats.get_mut(number as usize)?;
        if seat.entry_at > now {
            return None;
        }
        seat.entry_at = Mono::NEVER;
        let flight = seat.flight?;
        if flight.deadline <= now {
            return Some(flight);
        }
        seat.entry_at = flight.deadline;
        wheel.insert(flight.deadline, u64::from(number), TAG_FLIGHT);
        None
    }

    /// The flight has until then.
    pub fn extend(&mut self, number: u32, deadline: Mono, wheel: &mut Wheel) {
        if let Some(seat) = self.seats.get_mut(number as usize)
            && let Some(flight) = &mut seat.flight
        {
            flight.deadline = deadline;
            if deadline < seat.entry_at {
                seat.entry_at = deadline;
                wheel.insert(deadline, u64::from(number), TAG_FLIGHT);
            }
        }
    }
}
