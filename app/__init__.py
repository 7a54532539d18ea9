"""The dashboard: `streamlit run app/main.py`."""
