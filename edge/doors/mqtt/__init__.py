"""Events to an MQTT broker, see MqttSettings."""

from edge.doors.mqtt.door import MqttDoor

__all__ = ["MqttDoor"]
