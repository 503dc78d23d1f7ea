//! Ordinary driving: at most 80 % of the limit, and of what a harsh manoeuvre begins with.

use super::{CALM_SHARE, Driver};

/// How long it takes to turn the wheel.
const WHEEL_S: f64 = 0.5;

impl Driver {
    /// One ordinary manoeuvre.
    pub(super) fn drive_calmly(&mut self) {
        match self.random.below(20) {
            0..3 => self.change_road(),
            3..7 if !self.road.has_no_crossings() => self.stop_at_a_light(),
            7..11 if !self.road.has_no_crossings() => {
                let angle_deg = self.random.range(70.0, 110.0);
                let to_the_left = self.random.below(2) == 0;
                self.turn_off(if to_the_left { -angle_deg } else { angle_deg });
            }
            _ => {
                self.cruise();
                self.bend();
            }
        }
    }

    /// As fast as the driver likes to be on this road, for a while.
    pub(super) fn cruise(&mut self) {
        let share = self.random.range(0.6, 0.7) + 0.1 * self.habits.haste;
        let speed = share * self.limit_mps();
        let accel = self.calm_accel();
        self.change_speed(speed, accel);
        let hold_s = self.random.range(4.0, 14.0);
        self.hold(hold_s);
    }

    /// Follows the road, which is not straight.
    fn bend(&mut self) {
        let angle = self.random.range(-30.0, 30.0_f64).to_radians();
        let lateral = self.random.range(0.4, 1.2);
        self.turn(angle, lateral, 2.0 * WHEEL_S);
    }

    fn stop_at_a_light(&mut self) {
        self.stop();
        let wait_s = self.random.range(4.0, 50.0);
        self.hold(wait_s);
        self.cruise();
    }

    pub(super) fn stop(&mut self) {
        if self.speed_mps > 0.0 {
            let brake = self.calm_brake();
            self.change_speed(0.0, brake);
        }
    }

    /// Slows down, turns by an angle (clockwise, in degrees), and speeds up again.
    pub(super) fn turn_off(&mut self, angle_deg: f64) {
        let speed =
            if self.limit_mps() > 20.0 { self.random.range(9.0, 13.0) } else { self.random.range(4.5, 6.5) };
        self.reach(speed);
        let lateral = self.random.range(1.2, 2.4) + 0.8 * self.habits.haste;
        self.turn(angle_deg.to_radians(), lateral, WHEEL_S);
        self.cruise();
    }

    /// Changes to a faster or slower road, at a speed that is calm on both.
    fn change_road(&mut self) {
        let faster = self.random.below(2) == 0;
        let next = self.road.next(faster);
        let slower_limit = self.limit_mps().min(next.limit_mps(self.lorry));
        let speed = self.random.range(0.5, CALM_SHARE) * slower_limit;
        self.reach(speed);
        self.road = next;
        self.bend();
        self.cruise();
    }

    /// Changes the speed as one does without haste.
    pub(super) fn reach(&mut self, speed_mps: f64) {
        let accel = if speed_mps > self.speed_mps { self.calm_accel() } else { self.calm_brake() };
        self.change_speed(speed_mps, accel);
    }

    /// At most 2.4 m/s², 70 % of what is harsh.
    fn calm_accel(&mut self) -> f64 {
        self.random.range(0.8, 1.6) + 0.8 * self.habits.haste
    }

    /// At most 3.0 m/s², 68 % of what is harsh.
    fn calm_brake(&mut self) -> f64 {
        self.random.range(1.0, 2.0) + self.habits.haste
    }
}
