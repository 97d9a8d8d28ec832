"""Events to an MQTT broker, see MqttSettings."""

from edge.doors.mqtt.door import MqttDoor, open_mqtt

__all__ = ["MqttDoor", "open_mqtt"]
