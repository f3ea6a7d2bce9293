"""From recorded events to verdicts, JUnit, Allure and the printed matrix."""
