//! The figures of a vehicle, of trips that come one by one.

use super::Figures;
use crate::trip::Trip;

/// All trips of one vehicle on the day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VehicleDay {
    /// The vehicle.
    pub vehicle: String,
    /// Its sums.
    pub figures: Figures,
}

/// Sums trips by vehicle, holding one vehicle at a time: the trips of a vehicle follow each other.
#[derive(Debug, Clone, Default)]
pub struct VehicleDays {
    open: Option<VehicleDay>,
}

impl VehicleDays {
    /// Adds a trip, and returns the vehicle before it if that is over.
    pub fn add(&mut self, trip: &Trip) -> Option<VehicleDay> {
        let over = self.open.take_if(|open| open.vehicle != trip.file.vehicle);
        let open = self.open.get_or_insert_with(|| VehicleDay {
            vehicle: trip.file.vehicle.clone(),
            figures: Figures::default(),
        });
        open.figures.merge(&trip.figures);
        over
    }

    /// The last vehicle.
    pub fn finish(&mut self) -> Option<VehicleDay> {
        self.open.take()
    }
}
